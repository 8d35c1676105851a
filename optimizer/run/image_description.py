"""What the bundle of a run on images says about where it comes from."""

import hashlib
from pathlib import Path

from headtail.bundle.manifest import Lineage, Metric
from headtail.profile import profile_digest
from optimizer.data.dataset import Dataset
from optimizer.images.backbone import preprocess_steps
from optimizer.package.package import Description, Verified, package_versions
from optimizer.package.points import Profiles
from optimizer.recipe.image import ImageRecipe, describe_image_recipe
from optimizer.scores import Scores

PACKAGES = ("keras", "numpy", "onnx", "onnxruntime", "pillow", "tensorflow", "tf2onnx")


def describe_images(
    recipe: ImageRecipe,
    profiles: Profiles,
    dataset: Dataset,
    scores: dict[str, Scores],
    verified: Verified,
) -> Description:
    """Return what the manifest says, apart from segments and points.

    Args:
        recipe: As it was given.
        profiles: What was priced.
        dataset: What the model learned from.
        scores: Of the final model, by split.
        verified: How the export was checked.
    """
    metrics = tuple(
        Metric(name, value, dataset.protocol, split)
        for split, told in scores.items()
        for name, value in (("accuracy", told.accuracy), ("macro_f1", told.macro_f1))
    )
    used = (*PACKAGES, "pygad") if recipe.freeze and not recipe.freeze.layers else PACKAGES
    lineage = Lineage(
        recipe=describe_image_recipe(recipe) | _files(recipe),
        data=dataset.lineage,
        is_synthetic=dataset.is_synthetic,
        seed=recipe.seed,
        packages=package_versions(used),
        profiles={p.name: profile_digest(p) for p in profiles.devices}
        | {p.name: profile_digest(p) for p in profiles.links},
    )
    height, width = dataset.train.x.shape[1:3]
    return Description(
        name=recipe.name,
        version=recipe.version,
        task=recipe.task,
        labels=dataset.labels,
        preprocess=(*dataset.steps, *preprocess_steps(height, width)),
        metrics=metrics,
        lineage=lineage,
        verified=verified,
    )


def _files(recipe: ImageRecipe) -> dict[str, str]:
    """Return the digests of the files that the backbone came from."""
    backbone = recipe.backbone
    named = {"network": backbone.network, "weights": backbone.weights}
    found = {}
    for key, value in named.items():
        path = Path(value).expanduser()
        if path.is_file():
            with path.open("rb") as file:
                found[f"{key}_sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
