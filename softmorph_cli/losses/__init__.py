"""Losses for training networks on thin structures, as `torch.nn.Module`s over (B, C, [D,] H, W).

Arguments are called and mean what they do in MONAI, and at the same settings the values are MONAI's own. Importing
this loads torch; `import softmorph_cli` alone does not.
"""

from softmorph_cli.losses.cldice import SoftCLDiceLoss, SoftDiceCLDiceLoss
from softmorph_cli.losses.dice import SoftDiceLoss
from softmorph_cli.losses.recall import SkeletonRecallLoss
from softmorph_cli.losses.topological import TopologicalLoss

__all__ = ["SkeletonRecallLoss", "SoftCLDiceLoss", "SoftDiceCLDiceLoss", "SoftDiceLoss", "TopologicalLoss"]
