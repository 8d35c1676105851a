"""Execution providers: auto takes what loads, and what was asked for must load."""

import logging

import pytest

from fog_server import providers
from fog_server.providers import CUDA, choose_providers
from headtail.errors import ConfigError
from headtail.segment import CPU


@pytest.mark.parametrize("choice", ["auto", "cpu"])
def test_cpu_is_always_there(choice):
    """On a machine without a GPU auto means the CPU."""
    assert choose_providers(choice)[-1] == CPU


def test_provider_asked_for_but_missing_is_an_error(monkeypatch):
    """It is not replaced in silence."""
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [CPU])
    with pytest.raises(ConfigError, match=f"{CUDA} not in this onnxruntime; it has {CPU}"):
        choose_providers("cuda")


def test_auto_takes_the_next_if_one_is_installed_but_does_not_load(monkeypatch, caplog):
    """An onnxruntime built for CUDA, on a machine without its libraries."""
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [CUDA, CPU])
    real = providers.load_session

    def load(content, options, where):
        if options.providers[0] == CUDA:
            raise ConfigError("providers", "libcudart is missing")
        return real(content, options, where)

    monkeypatch.setattr(providers, "load_session", load)
    with caplog.at_level(logging.WARNING):
        assert choose_providers("auto") == (CPU,)
    assert "CUDAExecutionProvider is installed but does not load" in caplog.text
