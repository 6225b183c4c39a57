from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from models import ModelBuilder
from recipe_reviews import FILE, assessed, at, lines, recipe, reviewed, said, sentence

from avreview.engine.review import Severity, Verdict
from avreview.recipe.model import NormSetting, Recipe

BACKBONE = NormSetting("BN", "img_backbone", at(20))
ENCODER = NormSetting("BN2d", "pts_middle_encoder", at(30))


def training(*norms: NormSetting, samples: int | None = 2, devices: int | None = 8, **fields: Any) -> Recipe:
    return recipe(
        norms=norms,
        batch_size=None if samples is None else said(samples, 5),
        devices=None if devices is None else said(devices, 6),
        **fields,
    )


def with_batch_norm() -> ModelBuilder:
    model = ModelBuilder().input("image", ["batch", 3, 8, 8]).conv("neck.conv", 8, bias=False)
    return model.batch_norm("neck.bn").relu().conv("head", 4).output("scores")


# AV506


def test_av506_plain_batch_norm_on_several_devices() -> None:
    found = assessed(training(BACKBONE, ENCODER), "AV506")
    finding = found.found(Severity.WARNING, "img_backbone", "pts_middle_encoder", "train.batch_size", "train.devices")
    assert finding.location.artifact == FILE
    assert lines(found) == [20, 30, 5, 6]
    assert finding.message == (
        "2 batch norms take statistics from 2 images on each of 8 devices, and nothing synchronizes them."
    )
    assert finding.observed["samples_on_each"] == 2


@pytest.mark.parametrize(
    "given",
    [
        training(BACKBONE._replace(kind="SyncBN")),
        training(BACKBONE._replace(kind="naiveSyncBN2d")),
        training(BACKBONE, sync_norm=said(True, 7)),
        training(BACKBONE._replace(frozen_statistics=True)),
        training(BACKBONE, samples=8),
        training(BACKBONE, samples=2, cameras=said(6, 8)),  # twelve images
        training(BACKBONE, samples=16, devices=None),
    ],
)
def test_av506_is_silent_where_statistics_are_shared_frozen_or_of_enough_samples(given: Recipe) -> None:
    assert assessed(given, "AV506").passed


def test_av506_cameras_count_for_what_works_on_images_alone() -> None:
    found = assessed(training(BACKBONE, ENCODER, cameras=said(6, 8)), "AV506")
    assert found.modules == ["pts_middle_encoder", "train.batch_size", "train.devices"]
    bev = NormSetting("BN", "img_bev_encoder_backbone", at(33))
    assert assessed(training(bev, cameras=said(6, 8)), "AV506").only.location.line == 33


def test_av506_one_device_has_nothing_to_synchronize() -> None:
    assert assessed(training(BACKBONE, devices=1), "AV506").verdict is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (training(BACKBONE, devices=None), "the number of devices"),
        (training(BACKBONE, samples=None), "the number of samples on each device"),
        (training(), "whether the model has batch norms"),
        (training(NormSetting("GN", "img_backbone", at(20))), "whether the model has batch norms"),
    ],
)
def test_av506_is_left_open_where_the_recipe_does_not_tell(given: Recipe, reason: str) -> None:
    outcome = assessed(given, "AV506")
    assert outcome.verdict is Verdict.NOT_ASSESSED
    assert reason in (outcome.reason or "")


def test_av506_the_models_batch_norms_count_where_the_recipe_configures_none(tmp_path: Path) -> None:
    found = assessed(training(), "AV506", with_batch_norm(), path=tmp_path)
    assert found.modules == ["train.batch_size", "train.devices", "neck.bn"]
    frozen = training(frozen=[said("neck", 9)])
    assert assessed(frozen, "AV506", with_batch_norm(), path=tmp_path).passed
    none = ModelBuilder().input("image", ["batch", 3, 8, 8]).conv("head", 4).output("scores")
    assert assessed(training(), "AV506", none, path=tmp_path).verdict is Verdict.NOT_APPLICABLE


def test_av506_a_part_that_the_recipe_does_not_configure_counts_as_well(tmp_path: Path) -> None:
    synced = BACKBONE._replace(kind="SyncBN")
    found = assessed(training(synced), "AV506", with_batch_norm(), path=tmp_path)
    assert found.modules == ["train.batch_size", "train.devices", "neck.bn"]
    assert assessed(training(synced._replace(module="neck")), "AV506", with_batch_norm(), path=tmp_path).passed
    both = assessed(training(BACKBONE), "AV506", with_batch_norm(), path=tmp_path)
    assert both.modules == ["img_backbone", "neck.bn", "train.batch_size", "train.devices"]


# AV307


def test_av307_cameras_are_folded_into_the_batch() -> None:
    found = assessed(training(BACKBONE, ENCODER, cameras=said(6, 8)), "AV307")
    finding = found.found(Severity.NOTE, "img_backbone", "train.cameras")
    assert finding.location.line == 20
    assert finding.observed == {"cameras": 6, "modules": 1}
    synced = BACKBONE._replace(kind="SyncBN")
    assert assessed(training(synced, cameras=said(6, 8)), "AV307").only.location.line == 20


def test_av307_is_silent_on_frozen_statistics_and_other_norms() -> None:
    frozen = BACKBONE._replace(frozen_statistics=True)
    assert assessed(training(frozen, cameras=said(6, 8)), "AV307").passed
    assert assessed(training(BACKBONE._replace(kind="GN"), cameras=said(6, 8)), "AV307").passed


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (training(BACKBONE), Verdict.NOT_ASSESSED),
        (training(ENCODER, cameras=said(6, 8)), Verdict.NOT_ASSESSED),
        (training(BACKBONE, cameras=said(1, 8)), Verdict.NOT_APPLICABLE),
        (training(BACKBONE, cameras=said(6, 8), sensors={"lidar": said(True, 3)}), Verdict.NOT_APPLICABLE),
    ],
)
def test_av307_needs_cameras_and_the_norms_of_their_backbone(given: Recipe, verdict: Verdict) -> None:
    assert assessed(given, "AV307").verdict is verdict


# The answer


def test_the_answer_says_how_statistics_are_made() -> None:
    synced = training(BACKBONE._replace(kind="SyncBN"), ema=said(0.9998, 90))
    assert sentence(reviewed(synced), 5) == (
        "The recipe trains with SyncBN (line 20), runs on 8 devices with 2 samples on each (line 5) and keeps an "
        "average of the weights (line 90)."
    )
    frozen = training(BACKBONE._replace(frozen_statistics=True), samples=None, devices=None, ema=said(False, 90))
    assert sentence(reviewed(frozen), 5) == "The recipe freezes the statistics of img_backbone (line 20)."
