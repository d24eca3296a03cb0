"""The import hook that waits for Keras is removed after the import, and stays after a failed one."""

import subprocess
import sys

HOOK = """
import sys, threading
sys.path.insert(0, sys.argv[1])
before = list(sys.meta_path)
import tailfit
assert len(sys.meta_path) == len(before) + 1
assert "keras" not in sys.modules
try:
    import keras
except RuntimeError as error:
    assert str(error) == "broken"
assert len(sys.meta_path) == len(before) + 1  # still waiting
with open(sys.argv[1] + "/keras/saving.py", "w") as file:
    file.write("import time; time.sleep(0.1); known = {}\\nget_custom_objects = lambda: known")
sys.path_importer_cache.clear()
threads = [threading.Thread(target=lambda: __import__("keras")) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
import keras
assert sys.meta_path == before
assert set(keras.saving.known) == set(tailfit.registration.CLASSES)
assert type(keras.saving.__loader__).__name__ == "SourceFileLoader"
import importlib
importlib.reload(keras.saving)
kind = type("CosineDense", (), {})
del sys.modules["tailfit"], sys.modules["tailfit.registration"]
keras.saving.known["tailfit>CosineDense"] = kind
import tailfit  # Keras is imported already: no hook is left, and a registered class stays
assert sys.meta_path == before
assert keras.saving.known["tailfit>CosineDense"] is kind
assert len(keras.saving.known) == len(tailfit.registration.CLASSES)
assert {name for name in sys.modules if name.startswith("tailfit.")} == {"tailfit.lazy", "tailfit.registration"}
"""


def test_the_hook_waits_registers_and_is_removed(tmp_path):
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras" / "__init__.py").write_text("from keras import saving")
    (tmp_path / "keras" / "saving.py").write_text("raise RuntimeError('broken')")
    command = [sys.executable, "-B", "-c", HOOK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
