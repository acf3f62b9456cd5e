"""The collection: pipelines with one silent bug each, their healthy twins, and correct ones that are unusual."""

from tests.checks.zoo import (  # noqa: F401  (importing them registers their cases)
    data_inputs,
    data_labels,
    eighth_look,
    eighth_look_steps,
    evaluation_bugs,
    fifteenth_look,
    fifth_look,
    fifth_look_data,
    fourteenth_look,
    fourth_look,
    model_layers,
    model_outputs,
    ninth_look,
    optimisation_settings,
    optimisation_steps,
    other_data,
    other_forms,
    second_look,
    second_look_training,
    seventeenth_look,
    seventh_look,
    several_answers,
    several_inputs,
    sixteenth_look,
    sixth_look,
    sixth_look_correct,
    tenth_look,
    thirteenth_look,
    twelfth_look,
    unusual_data,
    unusual_models,
    unusual_training,
)
from tests.checks.zoo.case import CASES, Case

__all__ = ["CASES", "Case"]
