"""nnU-Net's inference, from NIfTI to NIfTI, around any runtime that gives logits. After Isensee et al. 2021
(doi 10.1038/s41592-020-01008-z) and the behaviour of nnunetv2 2.8, whose results it reproduces."""

from .case import Prepared, labels_of, prepare_case, probabilities_of, restore_logits
from .nifti import Image, find_cases, read_nifti, write_nifti
from .predict import predict_case
from .recipe import Recipe, is_nnunet
from .sliding import predict_volume

__all__ = [
    "Image",
    "Prepared",
    "Recipe",
    "find_cases",
    "is_nnunet",
    "labels_of",
    "predict_case",
    "predict_volume",
    "prepare_case",
    "probabilities_of",
    "read_nifti",
    "restore_logits",
    "write_nifti",
]
