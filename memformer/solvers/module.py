"""The Memformer as an ordinary `torch.nn.Module`: parameters that any optimiser of torch trains."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any, Self, get_args

import torch
from torch import Tensor, nn

from memformer.core.checks import require_choice, require_int
from memformer.core.problem import Problem
from memformer.core.solver import Solver
from memformer.core.tensors import in_double
from memformer.model.config import MemformerConfig
from memformer.model.forward import Form, first_layers, forward
from memformer.solvers.memformer import Memformer
from memformer.solvers.pretrained import read_pretrained, write_pretrained
from memformer.training.search import Search
from memformer.training.whitening import Coordinates, random_theta


class _Traced(Problem):
    """Tasks without what `torch.compile` and `torch.export` cannot trace: checks, objects, moments that are kept."""

    moments = property(Problem.moments.func)  # pyright: ignore[reportAssignmentType]

    def __init__(self, X: Tensor, y: Tensor, x_query: Tensor) -> None:
        for name, tensor in (("X", X), ("y", y), ("x_query", x_query)):
            object.__setattr__(self, name, tensor)


class MemformerModule(nn.Module):
    """One Memformer as an `nn.Module`.

    Its parameters have the names and shapes that `MemformerConfig.shapes` lists, and start at random
    (`reset_parameters`). Its gradients are right with respect to parameters, X, y and x_query, whatever the model is
    made of: where X or y ask for one, or `torch.func` is at work, it takes a form that has it.

    Args:
        config: what it is made of; None takes the fields of one as keywords.
        form: how to compute it, as in `memformer.forward`. None takes the cheapest form that has the gradients asked
            for. `"definition"` has all of them, of any order and in forward mode too; the other forms have those of
            parameters and x_query, once.
        device: of the parameters.
        dtype: of the parameters; None is torch's default.
        **parts: fields of `MemformerConfig`, in place of `config`.

    Attributes:
        config: what it is made of.
        form: see above; may be set.

    Raises:
        ValueError: if a value is out of its range, or a combination makes no sense.

    Example:
        >>> X = torch.randn(256, 20, 3, generator=torch.Generator().manual_seed(0))
        >>> y = X.sum(-1)
        >>> module = MemformerModule(d=3, depth=2, memory="first_order")
        >>> module.reset_parameters(torch.Generator().manual_seed(0))
        >>> adam = torch.optim.Adam(module.parameters(), lr=0.02)
        >>> losses = []
        >>> for _ in range(50):
        ...     loss = (module(X[:, 1:], y[:, 1:], X[:, :1])[-1] - y[:, :1]).square().mean()
        ...     adam.zero_grad()
        ...     loss.backward()
        ...     adam.step()
        ...     losses.append(loss.item())
        >>> losses[-1] < losses[0] / 2
        True
    """

    Q: nn.Parameter
    P: nn.Parameter
    alpha: nn.Parameter
    gamma: nn.Parameter
    gates: nn.Parameter

    def __init__(
        self,
        config: MemformerConfig | None = None,
        *,
        form: Form | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **parts: Any,
    ) -> None:
        super().__init__()
        if config is not None and parts:
            raise ValueError(f"a module has a config or the fields of one, and it was given both: {', '.join(parts)}")
        if form is not None:
            require_choice("form", form, get_args(Form))
        self.config = MemformerConfig(**parts) if config is None else config
        self.form: Form | None = form
        for name, shape in self.config.shapes().items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None, second_moment: Tensor | None = None) -> None:
        """Draw a random start, as the project's training draws one (`memformer.training.search.Search`).

        The same generator gives the same numbers in every dtype and on every device.

        Args:
            generator: on the CPU; None is torch's own.
            second_moment: `E[x x^T]` of the covariates, `(d, d)`; None takes them for white, the identity. A start for
                covariates of another size is far from any good one.
        """
        if any(parameter.is_meta for parameter in self.parameters()):
            return
        search, drawn_as = Search(), torch.float64
        with torch.no_grad(), torch.device("cpu"):
            moments = None if second_moment is None else in_double(second_moment)[None]
            coordinates = Coordinates(self.config, moments)
            generators = [torch.default_generator if generator is None else generator]
            like = torch.zeros((), dtype=drawn_as)
            theta = random_theta(coordinates, generators, search.scale, search.memory_scale, like)
            for name, start in coordinates.parameters(theta).items():
                getattr(self, name).copy_(start[0])

    def forward(self, X: Tensor, y: Tensor, x_query: Tensor) -> Tensor:
        """Predict the labels of query points from contexts.

        Args:
            X: `(B, N, d)` covariates of B contexts, of the parameters' dtype and on their device.
            y: `(B, N)` labels.
            x_query: `(B, q, d)` covariates of the queries.

        Returns:
            `(depth, B, q)`, after 1, ..., depth layers. (After no layer every prediction is 0.)

        Raises:
            ValueError: if a shape, dtype or device does not fit, or `form` has not the gradients asked for.
        """
        models = {name: getattr(self, name)[None] for name in self.config.shapes()}
        problem = _Traced(X, y, x_query) if torch.compiler.is_compiling() else Problem(X, y, x_query)
        kind = (models["Q"].dtype, models["Q"].device)
        if (problem.dtype, problem.device) != kind:
            both = f"X is {problem.dtype} on {problem.device}; the module is {kind[0]} on {kind[1]}"
            raise ValueError(f"{both} and they must agree (module.to(X) makes them)")
        form, device = self._form(problem), problem.device.type
        # Its products are small and many; under autocast they would mix dtypes.
        mixed = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        with torch.autocast(device, enabled=False) if mixed else nullcontext():
            return forward(self.config, models, problem, form).predictions[1:, 0]

    def _form(self, problem: Problem) -> Form | None:
        """The form to take: kernels have no gradient with respect to contexts, no `torch.func` and no half numbers."""
        if torch.compiler.is_compiling():  # then kernels are plain operations
            return self.form
        plain = "definition" if self.config.attention != "linear" else "associative"
        inputs = torch.is_grad_enabled() and (problem.X.requires_grad or problem.y.requires_grad)
        if self.form is not None:
            if inputs and self.form not in (plain, "definition"):
                wanted = "form=None takes one that has it"
                raise ValueError(f"the {self.form} form has no gradient with respect to X and y; {wanted}")
            return self.form
        if torch._C._are_functorch_transforms_active():
            return "definition"
        return plain if inputs or problem.dtype not in (torch.float32, torch.float64) else None

    def extra_repr(self) -> str:
        own = self.config
        shown = {one.name: getattr(own, one.name) for one in fields(own) if getattr(own, one.name) != one.default}
        shown |= {} if self.form is None else {"form": self.form}
        return ", ".join(f"{name}={value!r}" for name, value in shown.items())

    @classmethod
    def of(cls, solver: Solver, num_steps: int) -> Self:
        """The model of a fitted `Memformer` for so many steps: its predictions are those of `solver.solve`.

        Raises:
            ValueError: if it is no `Memformer`, adapts to each context, or was not fitted for so many layers.
        """
        if not isinstance(solver, Memformer) or type(solver).solve is not Memformer.solve:
            kind = type(solver).__name__
            raise ValueError(
                f"{kind} is no single model; a module is made of a fitted Memformer that adapts to nothing"
            )
        require_int("num_steps", num_steps, least=1)
        held = solver.parameters or {"made_for": torch.ones(2, dtype=torch.int64)}
        d, N = held["made_for"].tolist()
        X = torch.zeros(1, N, d, dtype=held["Q"].dtype if "Q" in held else None)
        config, models = first_layers(*solver.model(Problem(X, X[..., 0], X), num_steps), num_steps)
        return cls._holding(config, {name: tensor[0].clone() for name, tensor in models.items()})

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` into a folder, which is made if it is missing.

        Raises:
            ValueError: if a parameter is not finite; nothing is written.
            OSError: if a file cannot be written.
        """
        write_pretrained(Path(folder), self.config, {name: getattr(self, name) for name in self.config.shapes()})

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """The module that `save_pretrained` wrote, on the CPU, in the dtype it was written in. No pickle is read.

        Raises:
            FileNotFoundError: if a file is missing.
            CheckpointError: if a file is damaged, or the two do not fit each other.
        """
        return cls._holding(*read_pretrained(Path(folder)))

    @classmethod
    def _holding(cls, config: MemformerConfig, parameters: dict[str, Tensor]) -> Self:
        module = cls(config, device="meta")
        module.load_state_dict(parameters, assign=True)
        return module
