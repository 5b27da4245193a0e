"""PhysioCLR's encoder and decoder: any length in and out, gradients everywhere, half precision, compiled."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ecgloss.models import PhysioCLRDecoder, load_encoder, physioclr
from ecgloss.train.config import PretrainConfig
from ecgloss.train.pretrain import pretrain


@pytest.mark.parametrize("length", [16, 17, 100, 1000, 1001])
def test_the_whole_length_is_reconstructed(length):
    encoder = physioclr("physioclr-small", 3)
    decoder = PhysioCLRDecoder(encoder.out_features, 3)
    x = torch.randn(2, 3, length)
    tokens = encoder.tokens(x)
    assert tokens.shape == (2, -(-length // 16), 128)
    assert torch.equal(tokens.mean(1), encoder(x))
    assert decoder(tokens, length).shape == x.shape
    with pytest.raises(ValueError, match="length must be 1 to"):
        decoder(tokens, 16 * tokens.shape[1] + 1)


def test_every_parameter_gets_a_gradient_and_the_model_learns_to_reconstruct():
    torch.manual_seed(0)
    encoder = physioclr("physioclr-small", 2)
    decoder = PhysioCLRDecoder(encoder.out_features, 2, channels=32)
    both = nn.ModuleList([encoder, decoder])
    x = torch.sin(torch.linspace(0, 20, 200)).expand(4, 2, 200) * torch.tensor([1.0, -1.0])[:, None]
    optimizer = torch.optim.Adam(both.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss = (decoder(encoder.tokens(x), 200) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in both.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_half_precision_and_wrong_inputs():
    encoder = physioclr("physioclr-small", 12)
    with torch.autocast("cpu", torch.bfloat16):
        assert encoder(torch.randn(2, 12, 300)).isfinite().all()
    with pytest.raises(ValueError, match=r"x must be \(B, 12, T\)"):
        encoder(torch.zeros(2, 1, 300))
    with pytest.raises(ValueError, match="at least 16 samples"):
        encoder(torch.zeros(2, 12, 15))
    with pytest.raises(ValueError, match="size must be one of physioclr, physioclr-small"):
        physioclr("tiny")
    with pytest.raises(ValueError, match="at least 1"):
        physioclr("physioclr-small", 0)


def test_the_sizes_are_those_of_the_description():
    with torch.device("meta"):
        encoder = physioclr("physioclr", 12)
    assert len(encoder.blocks) == 12
    assert encoder.blocks[0].heads == 8
    assert sum(p.numel() for p in encoder.parameters()) == 87_177_216


def test_it_trains_from_its_name(tmp_path):
    config = PretrainConfig(
        data="synthetic:16", out=str(tmp_path / "run"), cache=str(tmp_path), loss="simclr", epochs=1
    )
    config = PretrainConfig.from_json(
        config.to_json()
        | {"model": "physioclr-small", "in_channels": 12, "sampling_rate": 100.0, "seconds": 2.0, "batch_size": 8}
    )
    result = pretrain(config, progress=False)
    encoder, card = load_encoder(result.run)
    assert (card.model, card.in_channels, encoder.out_features) == ("physioclr-small", 12, 128)
