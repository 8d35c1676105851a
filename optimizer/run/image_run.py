"""One run on images: a backbone adapted, trained on in part, pruned, cut, verified and bundled."""

import dataclasses
from dataclasses import dataclass

import keras
import numpy as np

from headtail.bundle.keys import Signer
from optimizer.data.dataset import Dataset
from optimizer.data.load import load
from optimizer.images.evaluate import evaluate
from optimizer.inputs import draw_test_windows
from optimizer.keras_file import write_keras_file
from optimizer.keras_onnx import export_keras
from optimizer.package.cuts import measure_cuts
from optimizer.package.package import Offer, Verified, pack
from optimizer.package.points import Profiles
from optimizer.progress import Reporter, StageClock
from optimizer.recipe.image import ImageRecipe, read_image_recipe
from optimizer.report.images.report import write_image_report
from optimizer.report.images.summary import ImageSummary
from optimizer.run.image_adapt import adapt_or_restore
from optimizer.run.image_bench import open_bench
from optimizer.run.image_costs import cost_or_restore
from optimizer.run.image_description import describe_images
from optimizer.run.image_freeze import freeze_or_restore
from optimizer.run.image_heatmaps import draw_heatmaps
from optimizer.run.image_points import ImagePricing, as_inputs, in_turns, verification
from optimizer.run.image_prune import prune_or_restore
from optimizer.run.keras_reference import keras_reference
from optimizer.run.opening import RunRequest, RunResult, open_request
from optimizer.run_folder import MODEL, TRAINING, RunFolder
from optimizer.training.record import TrainingRecord
from optimizer.verify import before_softmax as tensors_before_softmax
from optimizer.verify import verify


@dataclass(frozen=True, slots=True)
class _Job:
    """What stays the same from the first stage of a run to the last."""

    recipe: ImageRecipe
    signer: Signer
    profiles: Profiles
    folder: RunFolder
    reporter: Reporter


def run_image_recipe(request: RunRequest, reporter: Reporter) -> RunResult[ImageSummary]:
    """Make a bundle from the recipe of an image model, in a folder of its own.

    A finished run is not repeated. An interrupted one goes on behind the last epoch, individual or
    pruning step that its folder holds, and ends with the same digest.

    Raises:
        HeadtailError: One line on what is wrong; no bundle is left behind then.
    """
    recipe = read_image_recipe(request.recipe, request.seed, request.version)
    opened = open_request(request, recipe)
    if (finished := opened.finished(reporter)) is not None:
        return RunResult(*finished, None)
    clock, folder = StageClock(reporter), opened.folder
    job = _Job(recipe, opened.signer, opened.profiles, folder, clock)
    with clock.stage("load the data") as advance:
        dataset = load(recipe.data, lambda what, done, total: advance(done, total, what))
    if dataset.notes.get("skipped"):
        named = ", ".join(dataset.notes["skipped_files"][:3])
        clock.say(f"{dataset.notes['skipped']} images skipped, such as {named}")
    made, model = _make(job, dataset)
    with clock.stage("write the report"):
        rng = np.random.default_rng(recipe.seed)
        drawn = draw_test_windows(dataset, recipe.export.test_windows, rng)
        folder.write_arrays("test.npz", {"x": drawn.x, "y": drawn.y})
        summary = dataclasses.replace(made, seconds=dict(clock.seconds))
        write_image_report(summary, draw_heatmaps(model, dataset), folder)
        folder.finish(summary.bundle, summary.packed.digest)
    return RunResult(folder.path / summary.bundle, summary.packed.digest, summary)


def _make(job: _Job, dataset: Dataset) -> tuple[ImageSummary, keras.Model]:
    recipe, folder, reporter = job.recipe, job.folder, job.reporter
    bench = open_bench(recipe, dataset, folder, reporter)
    pricing = ImagePricing(recipe, job.profiles)
    model, adapted = adapt_or_restore(bench, lambda model: pricing.check(model, dataset))
    model, freezing = freeze_or_restore(bench, model)
    model, pruned = prune_or_restore(bench, model)
    costs = cost_or_restore(bench, model, pruned)
    write_keras_file(model, folder.path / MODEL)
    with reporter.stage("test"):
        scores = {
            "test": evaluate(model, dataset.test),
            "validation": evaluate(model, dataset.validation),
        }
        last = pruned.last.training if pruned else adapted
        training = TrainingRecord(
            last.epochs,
            last.best_epoch,
            scores["validation"].confusion.tolist(),
            scores["test"].confusion.tolist(),
        )
        folder.write_record(TRAINING, training)
    with reporter.stage("export and cut"):
        content = export_keras(model, recipe.export.opset)
        folder.write("model.onnx", content)
        graph, cut = pricing.cut(content)
    with reporter.stage("verify against Keras"):
        windows = verification(dataset.validation, dataset.train, recipe.export.verify_windows)
        feed = {graph.inputs[0].name: windows}
        error = verify(cut, keras_reference(model, graph), feed, tensors_before_softmax(graph))
    with reporter.stage("price the points"):
        points = pricing.points(cut, dataset.train, dataset.validation)
        choice = pricing.choose(points)
    with reporter.stage("write and test the bundle"):
        floor = recipe.partition.accuracy_floor
        offer = Offer(points, choice.point, choice.encoding, job.profiles, floor)
        verified = Verified(len(windows), f"{dataset.name}, validation split", "keras")
        described = describe_images(recipe, job.profiles, dataset, scores, verified)
        bundle = f"{recipe.name}-{recipe.version}.bundle"
        samples = {graph.inputs[0].name: as_inputs(in_turns(dataset.validation, 8).x)}
        packed = pack(folder.path / bundle, cut, offer, described, samples, job.signer)
    with reporter.stage("time the cuts"):
        cut_costs = measure_cuts(folder.path / bundle, job.signer, graph)
    summary = ImageSummary(
        recipe=recipe,
        data=described.lineage.data,
        labels=dataset.labels,
        is_synthetic=dataset.is_synthetic,
        training=training,
        rows=pricing.rows(points),
        choice=choice,
        packed=packed,
        bundle=bundle,
        parameters=model.count_params(),
        verified_windows=len(windows),
        verified_error=error,
        cut_costs=cut_costs,
        adapted=adapted,
        freezing=freezing,
        pruned=pruned,
        costs=costs,
    )
    return summary, model
