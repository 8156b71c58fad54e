"""MobileOne: parallel branches in training that fold into one convolution (arXiv 2206.04040, Table 2)."""

from __future__ import annotations

from mobilenets.table.rows import Act, BranchedConv, Linear, MobileOneBlock, Network, Pool, Row

RE = Act.RELU


def _network(size: str, stem: int, outs: tuple[int, int, int, int], branches: int = 1, se: int = 0) -> Network:
    """`outs` are the channels of the four stages; `se` how many of the third's last blocks have squeeze-and-excite."""
    rows: list[Row] = [BranchedConv(3, stem, RE, 2)]
    for stage, (blocks, out) in enumerate(zip((2, 8, 10, 1), outs, strict=True)):
        excited = (0, 0, se, min(se, 1))[stage]
        rows += [
            MobileOneBlock(3, out, RE, 2 if i == 0 else 1, branches, se=i >= blocks - excited) for i in range(blocks)
        ]
    return Network(
        f"mobile_one_{size}",
        paper=f"arXiv:2206.04040, Table 2, MobileOne-{size.upper()}",
        gate=Act.SIGMOID,
        bn_eps=1e-5,
        bn_momentum=0.1,
        rows=(*rows, Pool(), Linear(1000)),
    )


S0 = _network("s0", 48, (48, 128, 256, 1024), branches=4)
S1 = _network("s1", 64, (96, 192, 512, 1280))
S2 = _network("s2", 64, (96, 256, 640, 2048))
S3 = _network("s3", 64, (128, 320, 768, 2048))
S4 = _network("s4", 64, (192, 448, 896, 2048), se=5)
