"""What models and quantities of the layer table are called on the page."""

from __future__ import annotations

from collections.abc import Mapping

from taskdepth.types import Role

WORDS = {
    "debiased_cka": "debiased linear CKA",
    "linear_cka": "biased linear CKA",
    "rbf_cka": "RBF CKA",
    "svcca": "SVCCA",
    "pwcca": "PWCCA",
    "mean_squared_cca": "mean squared CCA",
    "rsa": "RSA",
    "auroc": "AUROC",
    "macro_f1": "macro F1",
    "majority": "majority class",
    "control_task_accuracy": "control-task accuracy",
    "dimensions_for_variance": "dimensions for 99% of variance",
    "centroid_cosine": "cosine of the tasks’ mean states",
    "covariance_cosine": "cosine of the tasks’ covariances",
}
ENDINGS = {
    "_shuffled": "shuffled rows",
    "_influence": "influence of one example",
    "_standardised": "standardised",
}
ROLES: Mapping[str, str] = {
    Role.PRETRAINED: "pre-trained model",
    Role.EXPERIMENTAL: "experimental model",
    Role.CONTROL: "control model",
    Role.RANDOM_INIT: "untrained model",
    Role.CEILING: "control model of another seed",
    Role.FOIL: "control model of another task",
}


def quantity_title(kind: str, target: str | None, name: str) -> str:
    """A quantity of the layer table in words.

    >>> quantity_title("similarity", None, "debiased_cka_shuffled@mean")
    'debiased linear CKA, shuffled rows (mean pooling)'
    >>> quantity_title("probe", "label", "macro_f1")
    'label probe: macro F1'
    """
    measure, _, pooling = name.partition("@")
    parts: list[str] = []
    while ending := next((end for end in ENDINGS if measure.endswith(end)), None):
        parts.insert(0, ENDINGS[ending])
        measure = measure.removesuffix(ending)
    words = ", ".join([WORDS.get(measure, measure.replace("_", " ")), *parts])
    words += f" ({pooling.replace('_', ' ')} pooling)" if pooling else ""
    if kind == "weights":
        return f"adapter: {words}"
    if kind != "probe":
        return words
    return f"{target.replace('_', ' ') if target else 'transfer'} probe: {words}"


def model_label(role: str, run: str | None, model: str | None, reference: str | None) -> str:
    """Whose value it is. `run` and `model` are given where they are needed to tell it from others.

    >>> model_label("experimental", "seed1", None, "control")
    'seed1: experimental model'
    """
    parts = [ROLES.get(role, role)]
    if model:
        parts.append(f"({model})")
    if reference not in (None, Role.CONTROL):
        parts.append(f"against {ROLES.get(reference, reference)}")
    return f"{run}: {' '.join(parts)}" if run else " ".join(parts)
