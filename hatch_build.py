"""Description on a package index: README.md without relative links, which lead nowhere there."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_CODE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_RELATIVE_LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?!https?://|#)(?P<path>[^)\s]+)\)")


class DescriptionHook(MetadataHookInterface):
    """Set the dynamic field `readme`, for `source` and `version` of the project."""

    def update(self, metadata: dict[str, Any]) -> None:
        readme = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        text = description(readme, metadata["version"], metadata.get("urls", {}).get("Source"))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def description(readme: str, version: str, source: str | None) -> str:
    """Return a README whose relative links lead to the version's tag in the repository at URL `source`.

    Without a repository, the text of each link remains, and images are left out.
    """
    tag = "HEAD" if "dev" in version else f"v{version}"

    def absolute(link: re.Match[str]) -> str:
        if not source:
            return "" if link["image"] else link["text"]
        view = "raw" if link["image"] else "blob"
        return f"{link['image']}[{link['text']}]({source.rstrip('/')}/{view}/{tag}/{link['path']})"

    parts = _CODE.split(readme)  # text and code alternate
    parts[::2] = [_RELATIVE_LINK.sub(absolute, text) for text in parts[::2]]
    return "".join(parts)
