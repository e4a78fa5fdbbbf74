"""Experiments made for tests."""

import json


def write_experiment(folder, card, run, expected):
    """The three files of an experiment, in a new folder."""
    folder.mkdir(parents=True)
    (folder / "experiment.toml").write_text(card)
    (folder / "run.py").write_text(run)
    (folder / "expected.json").write_text(json.dumps(expected))
    return folder
