"""
Reading a report
================

The page ``report.html`` of a run has these charts and tables; in a notebook, each shows itself. The models are those of
``tailfit demo``: plain ``fit``, and a sampler, sample weights and a loss for a long tail with some wrong labels.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import demo  # the script examples/demo.py, which must be in the same folder
import matplotlib.pyplot as plt

import tailfit

with TemporaryDirectory() as folder:
    evaluations = demo.main(Path(folder))

# %%
# **The recall of each class**, with its 95 % interval: how many of the test samples of this cause are found. Bars are
# training samples. Two markers whose intervals overlap widely can't be told apart.

tailfit.evaluation.plot.recall(evaluations)

# %%
# **The figures over all classes.** Balanced accuracy is the mean of the recalls, so each cause counts equally. Accuracy
# counts samples: it can be high while a rare cause is never found.

tailored = evaluations["tailored"]
for name, evaluation in evaluations.items():
    print(f"{name:10} balanced accuracy {evaluation.balanced_accuracy}   worst class {evaluation.worst_class_recall}")

# %%
# **What is mistaken for what.** A row is a true cause, a column a prediction.

tailored.plot.confusion()

# %%

tailored.plot.confused_pairs(5)

# %%
# **Whether the scores can be believed.** On the diagonal, predictions with a confidence of 0.8 are right in 80 % of the
# cases; below it the model is over-confident.

tailored.plot.reliability()

# %%
# **What a person would have to decide.** If the least confident samples are left to a person, the rest is decided more
# accurately.

tailored.plot.coverage()

# %%
# All figures are attributes, for pictures of your own:

gains = [b.recall - a.recall for a, b in zip(evaluations["plain fit"].classes, tailored.classes)]
plt.bar([k.name for k in tailored.classes], gains)
plt.xticks(rotation=45)
plt.ylabel("gain in recall")
plt.tight_layout()
plt.show()
