"""The rivals' table of ToSiM-IoT as it is printed: on other data, with other networks.

Source: ToSiM-IoT, table IV: accuracies in percent on DeepWeeds, nine classes of photographs, one
run each, InceptionV3 and VGG16; what share of channels or layers went is not said.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PrintedRow:
    """A row of table IV."""

    name: str
    method: str
    """The nearest of ours."""
    inception_percent: float
    vgg_percent: float


TABLE_IV = (
    PrintedRow("L1-Norm Based Pruning", "l1", 85.3, 78.6),
    PrintedRow("L2-Norm Based Pruning", "l2", 88.4, 82.2),
    PrintedRow("Quantization", "quantise", 87.5, 81.6),
    PrintedRow("Random Layer Freezing", "random_freeze", 82.7, 79.7),
    PrintedRow("Group Lasso Regularisation", "lasso", 87.8, 83.4),
    PrintedRow("ToSiM-IoT", "gradcam", 93.1, 86.8),
)
"""The data set's own baseline is above all of them: 95.1 % InceptionV3, 95.7 % ResNet-50 (Olsen et
al. 2019, doi:10.1038/s41598-018-38343-3)."""
