"""Results of published implementations for one small input, computed with PyTorch 2.13, in float64 where possible.

The input is six samples `Z` with the class indices `CODES`, or the multi-label rows `LABELS`, and the counts `COUNTS`.
Averages over labels are multiplied by the number of labels. Sources, with commit or version:

| losses | implementation |
|---|---|
| BinaryFocal | torchvision 0.29.1, `sigmoid_focal_loss` |
| Asymmetric, AsymmetricSingleLabel | timm 1.0.31, `asymmetric_loss.py` |
| ClassBalanced | balanced-loss 0.1.1 |
| LDAM | kaidic/LDAM-DRW 2536330 |
| DistributionBalanced | wutong16/DistributionBalancedLoss 14460d0, its COCO configuration, halved |
| LabelAwareSmoothing | dvlab-research/MiSLAS 0fc381e |
| InfluenceBalanced | pseulki/IB-Loss b29b8b0 |
| the robust losses | HanxunH/Active-Passive-Losses 04bce53 |
| LogitNorm | hongxin001/logitnorm_ood 0a60eef |
| Poly1 | abhuse/polyloss-pytorch b9b2fb3 |
| Equalization | tztztztztz/eqlv2 907fad9 |
| Seesaw | open-mmlab/mmdetection 08282a6 |
"""

from typing import Any

import numpy as np

__all__ = ["CODES", "FEATURES", "LABELS", "ORACLES", "Z"]

_i, _j = np.arange(6)[:, None], np.arange(4)[None]
Z = 3 * np.sin(1 + 5 * _i + 2 * _j * _j)
CODES = np.array([0, 1, 2, 3, 1, 2])
COUNTS = [1000.0, 100.0, 30.0, 5.0]
LABELS = np.cos(3 + 4 * _i + 7 * _j) > 0.3
LABELS[3] = False
FEATURES = 4 * np.abs(np.cos(2 + 3 * _i + _j))
_counted: dict[str, Any] = {"class_counts": COUNTS}

# (name, arguments, values)
ORACLES: list[tuple[str, dict[str, Any], list[float]]] = [
    ("BinaryFocal", {}, [2.6167151, 4.2447155, 0.4319068, 0.9407923, 2.5458288, 1.9393153]),
    ("Asymmetric", {}, [1.8524327, 3.8895376, 2.1115906, 0.5625442, 3.9061141, 1.5883107]),
    ("AsymmetricSingleLabel", {"gamma_pos": 1.0}, [0.1339494, 0.3331179, 0.7919629, 0.0114437, 5.4987672, 0.8820887]),
    ("ClassBalanced", {**_counted, "beta": 0.999}, [0.0108169, 0.1207211, 0.667055, 0.3723576, 1.0162243, 0.717258]),
    (
        "ClassBalanced",
        {**_counted, "beta": 0.999, "base": "sigmoid"},
        [0.0883139, 0.5962079, 1.1973659, 2.2838771, 1.4117101, 2.4552298],
    ),
    (
        "ClassBalanced",
        {**_counted, "beta": 0.999, "base": "focal"},
        [0.0407362, 0.472091, 0.5456259, 0.121886, 1.2119768, 1.4973857],
    ),
    ("LDAM", _counted, [0.0001376, 7.1313353, 17.6928414, 7.41e-05, 61.4153516, 16.58842]),  # of Z / 3
    (
        "DistributionBalanced",
        {**_counted, "num_samples": 2000},
        [1.2417704, 6.9434028, 2.0247092, 1.4459986, 5.5531003, 0.8818583],
    ),
    ("LabelAwareSmoothing", _counted, [0.9675422, 1.0512316, 1.3565503, 0.3792914, 5.5584207, 1.3509099]),
    ("InfluenceBalanced", {}, [65.3484313, 81.3665532, 113.618203, 69.8593826, 350.6366454, 95.9947214]),
    ("SymmetricCrossEntropy", {}, [3.2078047, 4.7426169, 6.5977301, 1.0071724, 9.782287, 6.8457016]),
    ("GeneralizedCrossEntropy", {}, [0.3647497, 0.5581143, 0.8180863, 0.1099509, 1.4065045, 0.8559247]),
    ("NormalizedCrossEntropy", {}, [0.0589149, 0.0574536, 0.1222186, 0.0103515, 0.4652904, 0.1911505]),
    ("MeanAbsolute", {}, [0.3437103, 0.507239, 0.7031528, 0.1081101, 0.997414, 0.7290835]),
    ("ActivePassive", {"b": 2.0}, [0.7463356, 1.0719316, 1.5285242, 0.2265717, 2.4601184, 1.6493174]),
    (
        "ActivePassive",
        {"b": 2.0, "passive": "rce"},
        [6.3902936, 9.4011412, 13.0747712, 2.0018138, 18.8383356, 13.6213647],
    ),
    ("LogitNorm", {}, [1.39e-05, 0.7024253, 5.2825898, 2e-07, 27.2519003, 6.0383528]),
    ("Poly1", {"epsilon": 1.5}, [0.9367186, 1.4685895, 2.2692667, 0.2765778, 7.453765, 2.3995698]),
    (
        "Equalization",
        {**_counted, "threshold": 0.05},
        [1.0041246, 0.4095236, 2.0520823, 0.6377584, 5.202774, 3.7502971],
    ),
    ("Seesaw", _counted, [0.0371835, 0.342548, 2.5210043, 0.1144126, 12.6923529, 2.2709906]),
]
