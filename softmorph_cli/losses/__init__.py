"""Losses for training networks on thin structures, as `torch.nn.Module`s over (B, C, [D,] H, W).

Arguments have the names and meanings of those in MONAI; with equal arguments the losses are equal to MONAI's.
Importing this package loads torch; `import softmorph_cli` does not.
"""

from softmorph_cli.losses.betti_matching import BettiMatchingLoss
from softmorph_cli.losses.cldice import SoftCLDiceLoss, SoftDiceCLDiceLoss
from softmorph_cli.losses.deep_supervision import DeepSupervisionLoss, MultiLabelDeepSupervisionLoss
from softmorph_cli.losses.dice import SoftDiceLoss
from softmorph_cli.losses.label_pyramid import label_pyramid
from softmorph_cli.losses.recall import SkeletonRecallLoss
from softmorph_cli.losses.topological import TopologicalLoss

__all__ = [
    "BettiMatchingLoss",
    "DeepSupervisionLoss",
    "MultiLabelDeepSupervisionLoss",
    "SkeletonRecallLoss",
    "SoftCLDiceLoss",
    "SoftDiceCLDiceLoss",
    "SoftDiceLoss",
    "TopologicalLoss",
    "label_pyramid",
    "weak_labels",
]
