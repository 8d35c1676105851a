"""What the bundle of a run says about where it comes from."""

from headtail.bundle.manifest import Lineage, Metric
from headtail.profile import profile_digest
from optimizer.data.dataset import Dataset
from optimizer.package.package import Description, Verified, package_versions
from optimizer.package.points import Profiles
from optimizer.recipe.recipe import Recipe, describe_recipe
from optimizer.search.record import SearchRecord
from optimizer.training.record import TrainingRecord

PACKAGES = ("keras", "numpy", "onnx", "onnxruntime", "tensorflow", "tf2onnx")


def describe(
    recipe: Recipe,
    profiles: Profiles,
    dataset: Dataset,
    record: TrainingRecord,
    found: SearchRecord | None,
    verified: Verified,
) -> Description:
    """Return what the manifest of a run's bundle says, apart from segments and points.

    Args:
        recipe: As it was given, a search's own network in it.
        profiles: What was priced.
        dataset: What the model learned from.
        record: How well it learned.
        found: What was searched for; None where the recipe's network was trained.
        verified: How the export was checked.
    """
    index = found.winner.input if found else 0
    metrics = tuple(
        Metric(name, value, dataset.protocol, split)
        for split, scores in (
            ("test", record.test_scores),
            ("validation", record.validation_scores),
        )
        for name, value in (("accuracy", scores.accuracy), ("macro_f1", scores.macro_f1))
    )
    lineage = Lineage(
        recipe=describe_recipe(recipe, found.network if found else None, index),
        data=dataset.lineage,
        is_synthetic=dataset.is_synthetic,
        seed=recipe.seed,
        packages=package_versions((*PACKAGES, "pygad") if found else PACKAGES),
        profiles={p.name: profile_digest(p) for p in profiles.devices}
        | {p.name: profile_digest(p) for p in profiles.links},
    )
    return Description(
        name=recipe.name,
        version=recipe.version,
        task=recipe.task,
        labels=dataset.labels,
        preprocess=(*dataset.steps, *recipe.steps(index)),
        metrics=metrics,
        lineage=lineage,
        verified=verified,
    )
