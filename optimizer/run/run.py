"""One run: recipe in; trained, cut, verified and priced network out, as a signed bundle."""

import dataclasses
from dataclasses import dataclass

import msgspec
import numpy as np

from headtail.bundle.keys import Signer
from headtail.tensor import Array
from optimizer.candidate import Candidate
from optimizer.compare.compare import ComparisonRecord
from optimizer.compare.contest import Contest
from optimizer.compare.run import compare_or_restore
from optimizer.data.dataset import Dataset
from optimizer.data.load import load
from optimizer.executor.executor import Executor, open_executor
from optimizer.field.lesson import Lesson
from optimizer.inputs import Inputs, build_every_input, draw_test_windows
from optimizer.keras_onnx import export_keras
from optimizer.latency import FogTime
from optimizer.package.cuts import measure_cuts
from optimizer.package.package import Offer, Verified, pack
from optimizer.package.points import Profiles
from optimizer.progress import Reporter, StageClock
from optimizer.recipe.recipe import Recipe, read_recipe
from optimizer.report.report import write_report
from optimizer.report.summary import RunSummary
from optimizer.run.captured import take_or_restore
from optimizer.run.description import describe
from optimizer.run.field import compare_choices, learn_or_restore
from optimizer.run.keras_reference import keras_reference
from optimizer.run.opening import RunRequest, RunResult, open_request
from optimizer.run.points import Pricing
from optimizer.run.search import search_or_restore
from optimizer.run.short_training import ShortTraining
from optimizer.run.statistics import repeat_or_restore
from optimizer.run.task import Task
from optimizer.run.training import train_or_restore
from optimizer.run_folder import RunFolder
from optimizer.search.record import SearchRecord
from optimizer.training.fitting import fit_and_test
from optimizer.training.repeats import StatisticsRecord
from optimizer.training.teaching import Panel, teach_or_restore
from optimizer.verify import before_softmax as tensors_before_softmax
from optimizer.verify import verify


@dataclass(frozen=True, slots=True)
class _Job:
    """What stays the same from the first stage of a run to the last."""

    recipe: Recipe
    signer: Signer
    profiles: Profiles
    folder: RunFolder
    reporter: Reporter
    lesson: Lesson | None = None
    """What the field taught; the profiles are then the corrected ones."""

    @property
    def fog(self) -> FogTime | None:
        """What the fog adds to the latency, where the field told it."""
        return None if self.lesson is None else self.lesson.fog

    @property
    def pricing(self) -> Pricing:
        """What points are priced with and held against."""
        return Pricing(self.recipe, self.profiles, self.fog)


def run_recipe(request: RunRequest, reporter: Reporter) -> RunResult[RunSummary]:
    """Make a bundle from a recipe, in a folder of its own.

    A finished run is not repeated. An interrupted one goes on after its last finished stage and
    ends with the same digest.

    Raises:
        HeadtailError: One line on what is wrong; no bundle is left behind then.
    """
    recipe = read_recipe(request.recipe, request.seed, request.version)
    opened = open_request(request, recipe)
    if (finished := opened.finished(reporter)) is not None:
        return RunResult(*finished, None)
    folder = opened.folder
    summary = _run(_Job(recipe, opened.signer, opened.profiles, folder, reporter))
    return RunResult(folder.path / summary.bundle, summary.packed.digest, summary)


def _run(job: _Job) -> RunSummary:
    recipe, clock = job.recipe, StageClock(job.reporter)
    job = _taught(job, clock)
    with clock.stage("load the data") as advance:
        dataset = load(recipe.data, lambda what, done, total: advance(done, total, what))
        inputs = build_every_input(dataset, recipe)
    dataset, inputs = take_or_restore(recipe, dataset, inputs, job.folder, clock)
    if dataset.is_synthetic:
        clock.say("SYNTHETIC data: what follows says nothing about real patients")
    with open_executor(recipe.executor) as executor:
        made = _make(_Bench(job, dataset, inputs, executor, clock))
    with clock.stage("write the report"):
        _write_test_windows(job, dataset)
        summary = dataclasses.replace(made, seconds=dict(clock.seconds))
        write_report(summary, job.folder)
        job.folder.finish(summary.bundle, summary.packed.digest)
    return summary


def _taught(job: _Job, reporter: Reporter) -> _Job:
    """Return the job with the profiles that the field corrects, where it is asked."""
    lesson = learn_or_restore(job.recipe, job.profiles, job.folder, reporter)
    if lesson is None:
        return job
    profiles = Profiles((lesson.device,), (lesson.link,))
    return dataclasses.replace(job, profiles=profiles, lesson=lesson)


@dataclass(frozen=True, slots=True)
class _Bench:
    """What the stages of a run work with."""

    job: _Job
    dataset: Dataset
    inputs: tuple[Inputs, ...]
    """The recipe's own, then those of [[search.inputs]]."""
    executor: Executor
    reporter: Reporter


def _make(bench: _Bench) -> RunSummary:
    job, dataset, reporter = bench.job, bench.dataset, bench.reporter
    bench.inputs[0].verification(job.recipe.export.verify_windows)  # too few fail early
    found = None
    if job.recipe.search is not None:
        found = _search(bench, job.recipe, job.folder)
    recipe, index = _settled(job.recipe, found)
    inputs, classes = bench.inputs[index], len(dataset.labels)
    windows = inputs.verification(recipe.export.verify_windows)
    with reporter.stage("check the bounds"):
        job.pricing.check(recipe.network.genome(classes), inputs)
        candidate = job.pricing.candidate(recipe.network.genome(classes), index)
    teacher = teach_or_restore(recipe, inputs, classes, bench.executor, job.folder, reporter)
    task = Task(recipe, candidate, inputs, teacher)
    model, record = train_or_restore(task, job.folder, reporter)
    with reporter.stage("export and cut"):
        content = export_keras(model, recipe.export.opset)
        job.folder.write("model.onnx", content)
        graph, cut = job.pricing.cut(content)
    with reporter.stage("verify against Keras"):
        feed = {graph.inputs[0].name: windows}
        error = verify(cut, keras_reference(model, graph), feed, tensors_before_softmax(graph))
    with reporter.stage("price the points"):
        points = job.pricing.points(cut, inputs, inputs.validation)
        choice = job.pricing.choose(points)
    with reporter.stage("write and test the bundle"):
        floor = recipe.partition.accuracy_floor
        offer = Offer(points, choice.point, choice.encoding, job.profiles, floor)
        verified = Verified(len(windows), f"{dataset.name}, validation split", "keras")
        described = describe(job.recipe, job.profiles, dataset, record, found, verified)
        bundle = f"{recipe.name}-{recipe.version}.bundle"
        samples = {graph.inputs[0].name: inputs.samples}
        packed = pack(job.folder.path / bundle, cut, offer, described, samples, job.signer)
    with reporter.stage("time the cuts"):
        costs = measure_cuts(job.folder.path / bundle, job.signer, graph)
    return RunSummary(
        recipe=job.recipe,
        data=described.lineage.data,
        labels=dataset.labels,
        is_synthetic=dataset.is_synthetic,
        training=record,
        rows=job.pricing.rows(points),
        choice=choice,
        packed=packed,
        bundle=bundle,
        parameters=model.count_params(),
        verified_windows=len(windows),
        verified_error=error,
        cut_costs=costs,
        found=found,
        statistics=_repeat(bench, task),
        comparison=_compare(bench, found, teacher),
        field=None
        if job.lesson is None
        else compare_choices(job.lesson, job.pricing, points, packed.manifest.segments),
    )


def _search(bench: _Bench, recipe: Recipe, folder: RunFolder) -> SearchRecord:
    trainer = ShortTraining(recipe, bench.inputs, len(bench.dataset.labels))
    terms = Pricing(recipe, bench.job.profiles, bench.job.fog).terms
    return search_or_restore(recipe, terms, trainer, bench.executor, folder, bench.reporter)


def _settled(recipe: Recipe, found: SearchRecord | None) -> tuple[Recipe, int]:
    """Return the recipe with what a search found in the place of what was searched."""
    if found is None:
        return recipe, 0
    index = found.winner.input
    settled = msgspec.structs.replace(
        recipe, network=found.network, preprocess=recipe.steps(index), search=None
    )
    return settled, index


def _repeat(bench: _Bench, task: Task) -> StatisticsRecord | None:
    if task.recipe.statistics is None:
        return None
    return repeat_or_restore(task, bench.executor, bench.job.folder, bench.reporter)


def _compare(
    bench: _Bench, found: SearchRecord | None, teacher: Panel | None
) -> ComparisonRecord | None:
    recipe = bench.job.recipe
    if recipe.compare is None:
        return None

    def look(other: Recipe, folder: RunFolder, reporter: Reporter) -> SearchRecord:
        own = dataclasses.replace(bench, reporter=reporter)
        return _search(own, other, folder)

    def retrain(candidate: Candidate, inputs: Inputs, seed: int) -> tuple[Array, Array]:
        taught = teacher if teacher is not None and teacher.takes(inputs) else None
        scores = fit_and_test(candidate, inputs, taught, recipe.train, seed)
        return scores[0].confusion, scores[1].confusion

    contest = Contest(
        recipe,
        bench.dataset,
        bench.inputs,
        bench.job.pricing.terms,
        look if recipe.search else None,
        retrain,
    )
    return compare_or_restore(contest, found, bench.job.folder, bench.reporter)


def _write_test_windows(job: _Job, dataset: Dataset) -> None:
    """Write raw windows with labels that the edge agent can replay: `--source npz:test.npz`."""
    rng = np.random.default_rng(job.recipe.seed)
    drawn = draw_test_windows(dataset, job.recipe.export.test_windows, rng)
    job.folder.write_arrays("test.npz", {"x": drawn.x, "y": drawn.y})
