import pytest
import torch
from torch import nn
from toy import POLICIES, SIZES, sizes_for

from captionrl.config import MODELS
from captionrl.models import build_module
from captionrl.models.layers import Attention, BiLSTM, reverse_valid, run_lstm
from captionrl.models.nic import NIC

MASK = torch.tensor([[True, True, True, True], [True, True, False, False], [True, False, False, False]])


def test_attention_weights_sum_to_one_and_are_zero_on_padding():
    torch.manual_seed(0)
    attention, values = Attention(values=5, query=3, width=4), torch.randn(3, 4, 5)
    _, weights = attention(torch.randn(3, 3), attention.key(values), values, MASK)
    torch.testing.assert_close(weights.sum(1), torch.ones(3))
    assert (weights[MASK] > 0).all()
    assert (weights[~MASK] == 0).all()


def test_attention_is_hrl_equations_1_to_3():
    torch.manual_seed(0)
    attention, values, query = Attention(values=5, query=3, width=4), torch.randn(1, 4, 5), torch.randn(1, 3)
    w_a, b_a, u_a, w = attention.key.weight, attention.key.bias, attention.query.weight, attention.energy.weight[0]
    energy = torch.stack([w @ torch.tanh(w_a @ value + u_a @ query[0] + b_a) for value in values[0]])
    weight = energy.exp() / energy.exp().sum()
    context, weights = attention(query, attention.key(values), values, MASK[:1])
    torch.testing.assert_close(weights[0], weight)
    torch.testing.assert_close(context[0], sum(a * value for a, value in zip(weight, values[0], strict=True)))


def test_an_lstm_reads_each_clip_of_a_batch_as_if_it_were_alone():
    """So the last state is that after its own last frame."""
    torch.manual_seed(0)
    lstm, inputs = nn.LSTM(5, 3, batch_first=True), torch.randn(3, 4, 5)
    outputs, (hidden, cell) = run_lstm(lstm, inputs, MASK)
    assert outputs.shape == (3, 4, 3)
    for row, length in enumerate(MASK.sum(1)):
        alone, (last_hidden, last_cell) = lstm(inputs[row : row + 1, :length])
        torch.testing.assert_close(outputs[row, :length], alone[0])
        torch.testing.assert_close(hidden[:, row], last_hidden[:, 0])
        torch.testing.assert_close(cell[:, row], last_cell[:, 0])


def test_a_bilstm_is_torchs_on_each_clip_alone_so_its_backward_direction_begins_at_the_clips_last_frame():
    torch.manual_seed(0)
    ours, torchs = BiLSTM(5, 3), nn.LSTM(5, 3, batch_first=True, bidirectional=True)
    for direction, suffix in ((ours.forward_lstm, ""), (ours.backward_lstm, "_reverse")):
        for name, parameter in direction.named_parameters():
            getattr(torchs, name + suffix).data.copy_(parameter)
    inputs = torch.randn(3, 4, 5)
    outputs = ours(inputs, MASK)
    for row, length in enumerate(MASK.sum(1)):
        alone, _ = torchs(inputs[row : row + 1, :length])
        torch.testing.assert_close(outputs[row, :length], alone[0])
    assert (outputs[~MASK] == 0).all()


def test_turning_round_reverses_the_frames_and_leaves_the_padding():
    frames = torch.arange(12.0).view(3, 4, 1)
    turned = reverse_valid(frames, MASK)
    assert turned.squeeze(-1).tolist() == [[3, 2, 1, 0], [5, 4, 6, 7], [8, 9, 10, 11]]
    assert torch.equal(reverse_valid(turned, MASK), frames)


@pytest.mark.parametrize("model", [model for model in POLICIES if "init" in MODELS[model].sizes.model_fields])
def test_every_parameter_of_a_captioner_with_an_init_starts_uniform_within_the_bound(model):
    torch.manual_seed(0)
    policy = build_module(model, 50, 100, sizes_for(model, SIZES.model_dump() | {"init": 0.1}))
    drawn = {name: parameter.detach().flatten() for name, parameter in policy.named_parameters()}
    drawn = {name: values for name, values in drawn.items() if name.split(".")[0] not in ("value", "similarity")}
    if isinstance(policy, NIC):
        for name in [name for name in drawn if name.endswith("bias_hh")]:
            enter, forget, *others = drawn[name].chunk(4)
            assert (forget == 1).all()
            drawn[name] = torch.cat([enter, *others])
    for name, values in drawn.items():
        assert values.abs().max() <= 0.1, name
        assert values.unique().numel() > 0.99 * values.numel(), name  # biases too are drawn
    everything = torch.cat(list(drawn.values()))
    shares = torch.histc(everything, bins=4, min=-0.1, max=0.1) / len(everything)
    torch.testing.assert_close(shares, torch.full((4,), 0.25), atol=0.05, rtol=0)
