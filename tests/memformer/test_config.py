import pytest
import torch

from memformer.model.config import MemformerConfig
from memformer.model.forward import forward
from memformer.solvers.memformer import Memformer
from memformer.training.recipe import Recipe
from tests.memformer.helpers import random_parameters, random_problem


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"d": 0}, "d is 0"),
        ({"depth": 1.5}, "depth is 1.5"),
        ({"memory": "lstm"}, "memory is 'lstm'; it must be 'none' or 'conjugate' or 'first_order'"),
        ({"window": 2}, "window=2 needs memory='first_order'"),
        ({"memory": "conjugate", "window": 2}, "keeps one register"),
        ({"memory": "conjugate", "gamma_sharing": "past"}, "gamma_sharing='past' needs memory='first_order'"),
        ({"gamma": "feature"}, "memory='none' has none"),
        ({"gamma_per_head": True}, "memory='none' has none"),
        ({"memory": "first_order", "gamma": "token"}, "needs num_tokens"),
        ({"memory": "first_order", "num_tokens": 4}, "any context length fits"),
        ({"heads": True}, "heads is True"),
    ],
)
def test_contradictions_are_one_sentence(wrong, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        MemformerConfig(**{"d": 3, "depth": 2, **wrong})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch": 0}, {"learning_rate": float("nan")}, {"loss": "exact"}])
def test_recipe_refuses(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Recipe(**wrong)


def test_solver_refuses_what_its_parts_refuse():
    with pytest.raises(ValueError, match="window=1 needs memory='first_order'"):
        Memformer(window=1)
    with pytest.raises(ValueError, match="batch is 0"):
        Memformer(batch=0)


@pytest.mark.parametrize("name", ["Q", "gamma"])
def test_forward_refuses_parameters_of_another_shape(name):
    config = MemformerConfig(d=3, depth=2, memory="first_order")
    parameters = random_parameters(config, 2)
    parameters[name] = parameters[name][..., :1]
    with pytest.raises(ValueError, match=f"{name} has shape"):
        forward(config, parameters, random_problem())
    del parameters[name]
    with pytest.raises(ValueError, match="this Memformer has"):
        forward(config, parameters, random_problem())


def test_forward_refuses_problems_it_was_not_made_for():
    config = MemformerConfig(d=3, depth=2, memory="first_order", gamma="token", num_tokens=6)
    parameters = random_parameters(config, 1)
    with pytest.raises(ValueError, match="made for d = 3 and the problem has d = 4"):
        forward(config, parameters, random_problem(d=4))
    with pytest.raises(ValueError, match="made for N = 6 and the problem has N = 7"):
        forward(config, parameters, random_problem(N=7))


@pytest.mark.parametrize("form", ["associative", "reduced"])
def test_forward_refuses_a_form_that_is_not_exact(form):
    config = MemformerConfig(d=3, depth=1, attention="softmax")
    with pytest.raises(ValueError, match="'definition' is"):
        forward(config, random_parameters(config, 1), random_problem(), form=form)


def test_depths_must_fit():
    config = MemformerConfig(d=3, depth=2)
    with pytest.raises(ValueError, match="they must be 1 numbers from 0 to 2"):
        forward(config, {"Q": torch.zeros(1, 2, 1, 3, 3).double()}, random_problem(), depths=[3])
