"""Two workers at batch b learn what one worker at batch 2b learns: over the registry, with real DDP over gloo."""

import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import models
from imaging.target import CHANNELS
from models.training import Training
from tests.models.test_registry import PHASES, descend, settle, tiny

STEPS = 5
RATE = 1e-4


def learn(name: str, rank: int, world: int, steps: int = STEPS) -> dict[str, Tensor]:
    """The training state after a few steps on this worker's share of the same rows."""
    torch.manual_seed(0)
    variant = models.build(name, tiny(name))
    layers = [layer for network in variant.networks.values() for layer in network.modules()]
    # InstanceNorm amplifies rounding errors from step to step; in double precision there are next to none.
    precision = torch.float64 if any(isinstance(layer, nn.InstanceNorm2d) for layer in layers) else torch.float32
    for network in (*variant.networks.values(), variant.generator()):
        network.to(precision)
    settle(variant)
    descend(variant, RATE)

    def wrap(network: nn.Module) -> nn.Module:
        return DistributedDataParallel(network, broadcast_buffers=False) if world > 1 else network

    training = Training(variant, wrap)
    for number in range(steps):
        training.set_progress(PHASES[number * len(PHASES) // steps])
        # Noise: on flat pages InstanceNorm divides by next to nothing, and rounding errors grow a thousandfold a step.
        torch.manual_seed(number)
        ink, target = (torch.rand(4, n, 64, 64, dtype=precision) * 2 - 1 for n in (1, CHANNELS[variant.target]))
        training.step(ink.chunk(world)[rank], target.chunk(world)[rank])
    return training.state()


def worker(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    for name in models.VARIANTS:
        torch.save(learn(name, rank, 2), Path(folder) / f"{name}-{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What each of two workers ended with, for every variant."""
    folder = tmp_path_factory.mktemp("ddp")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(worker, (port, str(folder)), nprocs=2)
    return folder


@pytest.mark.parametrize("name", models.VARIANTS)
def test_two_workers_are_one_with_a_batch_twice_as_large(learnt: Path, name: str) -> None:
    alone = learn(name, 0, 1)
    workers = [torch.load(learnt / f"{name}-{rank}.pt", weights_only=True) for rank in range(2)]

    start = learn(name, 0, 1, steps=0)
    weights = [key for key in alone if "optimizer/" not in key and not key.startswith(("more/", "average/"))]
    moved = {key: float((alone[key] - start[key]).abs().max()) for key in weights if alone[key].is_floating_point()}
    assert max(moved.values()) > 0
    for key in weights:
        torch.testing.assert_close(workers[0][key], workers[1][key], atol=1e-6, rtol=0, msg=f"{key} differs by worker")
        torch.testing.assert_close(workers[0][key], alone[key], atol=1e-4, rtol=0, msg=f"{key} is not as alone")
    apart = [float((workers[0][key] - alone[key]).abs().max()) for key in moved]
    assert max(apart) < 0.02 * max(moved.values())  # what was learnt is the same, not only small
