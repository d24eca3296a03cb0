"""The code on pages: which blocks there are, what they print, and how that is compared."""

import pytest
from support.page_code import blocks, differences, run, with_output

PAGE = """# Title

```python
number = 1 / 3
print(f"{number:.3f} of", 3)
```

```text
0.333 of 3
```

% not run: it needs a network
```python
download()
```

Text.

```python
print(end="")
```

```text
Not the output of the block above.
```
"""


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(PAGE, encoding="utf-8")
    return path


def test_blocks_have_their_place_output_and_reason(page):
    first, second, third = blocks(page)
    assert (first.line, first.output, first.reason) == (4, "0.333 of 3\n", None)
    assert (second.code, second.reason) == ("download()\n", "it needs a network")
    assert third.output == "Not the output of the block above.\n"


def test_a_page_runs_in_one_namespace(page, tmp_path):
    known = {}
    (first, printed), (_, nothing) = run(page, tmp_path, known)
    assert printed == first.output
    assert nothing == ""
    assert known["number"] == 1 / 3


def test_output_is_written_into_the_page(page):
    text = PAGE.replace("```text\nNot the output of the block above.\n```", "").rstrip() + "\n"
    page.write_text(text.replace("0.333", "0.4"), encoding="utf-8")
    assert with_output(page) == text


def test_an_error_names_the_line_of_the_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n```python\n1 / 0\n```\n", encoding="utf-8")
    with pytest.raises(ZeroDivisionError) as error:
        run(page, tmp_path)
    assert (error.traceback[-1].path.name, error.traceback[-1].lineno + 1) == ("page.md", 4)


@pytest.mark.parametrize(
    ("expected", "found", "equal"),
    [
        ("a  b\n", "a b", True),
        ("a b", "a c", False),
        ("7 rows", "8 rows", False),
        ("loss 1.00", "loss 1.02", True),
        ("loss 1.00", "loss 1.04", False),
        ("loss 120.0", "loss 122.0", True),
        ("0.00", "-0.00", True),
        ("1.0e-05", "1.1e-05", True),
        ("1.0e-05", "1.0e-04", False),
        ("loss nan", "loss 1.0", False),
        ("id-031 v1.2", "id-032 v1.2", False),
    ],
)
def test_numbers_may_differ_a_little_and_words_not_at_all(expected, found, equal):
    assert (differences(expected, found) == []) is equal
