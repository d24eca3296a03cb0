"""
Root causes of faults in a plant
================================

Records of six sensors, five causes, and the usual proportions: three records in four are normal, the rarest cause has a
dozen. One network is trained by plain ``fit``, and with a sampler and a loss for such data.
"""

import keras
import matplotlib.pyplot as plt
import numpy as np

import tailfit

SENSORS = ["feed", "level", "pressure", "temperature", "valve", "flow"]
COUNTS = {"normal": 600, "valve sticks": 100, "pump wear": 50, "leak": 24, "sensor drift": 12}

# %%
# A synthetic plant: sensors that wander together, and a fault that begins somewhere in the record.


def records_of(cause, count, rng, steps=64):
    shared = rng.normal(size=(count, steps, 1)).cumsum(axis=1) * 0.15
    x = shared * np.array([1, 0.8, 0.6, -0.5, 0.3, 0.9]) + rng.normal(scale=0.5, size=(count, steps, len(SENSORS)))
    since = np.maximum(np.arange(steps) - rng.integers(5, 35, size=(count, 1)), 0) / steps  # time since it began
    if cause == "valve sticks":
        x[:, :, 4] = np.where(since > 0, np.round(x[:, :, 4] / 2.5) * 2.5, x[:, :, 4])  # moves in jumps
    elif cause == "pump wear":
        x[:, :, 5] -= 5.0 * since
    elif cause == "leak":
        x[:, :, 1] -= 4.0 * since
        x[:, :, 2] -= 4.0 * since
    elif cause == "sensor drift":
        x[:, :, 3] += 5.0 * since
    return x.astype("float32")


def plant(counts, seed):
    rng = np.random.default_rng(seed)
    x = np.concatenate([records_of(cause, count, rng) for cause, count in counts.items()])
    causes = np.repeat(list(counts), list(counts.values()))
    return tailfit.data.Arrays(x, causes, class_names=list(counts))


train, test = plant(COUNTS, seed=0), plant(dict.fromkeys(COUNTS, 80), seed=1)

# %%
# The sampler draws rare causes more often. The loss corrects the imbalance that remains: it gets the class counts as
# they are sampled.

plain = tailfit.Batches(train, 32, seed=0)
balanced = tailfit.Batches(train, 32, tailfit.samplers.ClassBalanced(power=0.5), seed=0)
evaluations = {}
for name, batches, loss in [
    ("plain", plain, tailfit.losses.CrossEntropy(from_logits=True)),
    ("tailored", balanced, tailfit.losses.LogitAdjusted(balanced.class_counts, from_logits=True)),
]:
    keras.utils.set_random_seed(0)
    model = tailfit.networks.cnn((64, 6), 5, filters=(16, 16))
    model.compile(keras.optimizers.Adam(2e-3), loss)
    model.fit(batches, epochs=10, verbose=0)
    scores = model.predict(tailfit.Batches(test, 128), verbose=0)
    evaluations[name] = tailfit.evaluate(test.labels, scores, test.class_names, train.class_counts, name=name)
    print(f"{name:9} balanced accuracy {evaluations[name].balanced_accuracy}")

# %%
# A record with a leak, and the recall of each cause with its 95 % interval:

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for place, sensor in enumerate(SENSORS):
    left.plot(test.read([250])[0][:, place] - 4 * place, label=sensor)
left.set_yticks([-4 * place for place in range(6)], SENSORS)
left.set_xlabel("step")
for shift, (name, evaluation) in zip((-0.15, 0.15), evaluations.items()):
    for place, figures in enumerate(evaluation.classes):
        right.hlines(place + shift, figures.recall.low, figures.recall.high, color="silver", linewidth=3)
    right.plot([k.recall for k in evaluation.classes], np.arange(5) + shift, "o", label=name)
right.set_yticks(range(5), [f"{cause} ({count})" for cause, count in COUNTS.items()])
right.invert_yaxis()
right.set_xlabel("recall")
right.legend()
plt.show()
