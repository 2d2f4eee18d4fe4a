"""Optimisers step without torch's compiler, to the same weights; who compiles gets the real one."""

import subprocess
import sys

import pytest

STEP = """
import sys, torch
{before}
model = torch.nn.Linear(3, 2)
torch.nn.init.ones_(model.weight), torch.nn.init.ones_(model.bias)
optimiser = torch.optim.{optimiser}(model.parameters(), lr=0.1)
for _ in range(3):
    optimiser.zero_grad(set_to_none=True)
    model(torch.arange(3.0)).square().sum().backward()
    optimiser.step()
state = optimiser.state_dict()
optimiser.load_state_dict(state)
torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser).step(1.0)
print(model.weight.tolist(), sum(name.startswith("torch._dynamo.") for name in sys.modules))
"""
STAND_IN = "from captionrl.training.eager import without_compiler; without_compiler()"


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("optimiser", ["Adam", "Adadelta"])
def test_the_same_weights_without_a_module_of_the_compiler(optimiser):
    weights, modules = run(STEP.format(before=STAND_IN, optimiser=optimiser)).rsplit(maxsplit=1)
    expected, usual = run(STEP.format(before="", optimiser=optimiser)).rsplit(maxsplit=1)
    assert weights == expected
    assert (modules, int(usual) > 10) == ("0", True)


def test_who_compiles_gets_the_compiler():
    use = "print(torch.compile(lambda x: x + 1, backend='eager')(torch.ones(2)).tolist())"
    assert run(f"import torch; {STAND_IN}; {use}") == "[2.0, 2.0]\n"


def test_a_part_of_it_can_be_imported():
    use = "import torch._dynamo.config as c; print(c.__name__, torch._dynamo.is_compiling())"
    assert run(f"import torch; {STAND_IN}; {use}") == "torch._dynamo.config False\n"
