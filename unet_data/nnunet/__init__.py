"""nnU-Net's inference, from NIfTI to NIfTI, with any runtime that computes logits. It follows Isensee et al. 2021
(doi 10.1038/s41592-020-01008-z) and reproduces the results of nnunetv2 2.8."""

from .case import Prepared, labels_of, prepare_case, probabilities_of, restore_logits
from .nifti import Image, case_targets, find_cases, read_nifti, write_nifti
from .plans import NnunetPlans, find_plans
from .predict import CaseResult, predict_case, predict_nifti
from .sliding import SlidingWindow, predict_volume

__all__ = [
    "CaseResult",
    "Image",
    "NnunetPlans",
    "Prepared",
    "SlidingWindow",
    "case_targets",
    "find_cases",
    "find_plans",
    "labels_of",
    "predict_case",
    "predict_nifti",
    "predict_volume",
    "prepare_case",
    "probabilities_of",
    "read_nifti",
    "restore_logits",
    "write_nifti",
]
