"""What figures show of the first layer's weights while a network trains."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efcnlib.errors import UserError
from efcnlib.networks import DenseConv, convolutions

HEATMAP_CELLS = 3, 4  # in a row of outputs and of inputs, at most: small enough to be kept for every measurement


def weight_pictures(network: nn.Module) -> dict[str, Tensor]:
    """What figures show of the first layer's first block, [h_out, w_out, h_padded, w_padded], while a network trains.

    "filters" [2, h_padded, w_padded]: the row of the corner output, which the supplement's Figure 5 shows, then that of
    the central one. "heat" [rows, columns], float16: see `rms_heatmap`.
    """
    matrix = block(convolutions(network)[0][1])
    corner, centre = matrix[0, 0], matrix[matrix.shape[0] // 2, matrix.shape[1] // 2]
    return {"filters": torch.stack([corner, centre]), "heat": rms_heatmap(matrix).half()}


def rms_heatmap(matrix: Tensor) -> Tensor:
    """Root mean square of cells of a block [h_out, w_out, h_in, w_in]: [h_out * at most 3, h_in * at most 4].

    A cell lies within one row of the output map and one row of the input image, so that the bands of a convolution
    stay to be seen; the last ones of a row are narrower where it cannot be divided evenly.
    """
    h_out, w_out, h_in, w_in = matrix.shape
    widths = -(-w_out // HEATMAP_CELLS[0]), -(-w_in // HEATMAP_CELLS[1])
    rows = matrix.square().permute(0, 2, 1, 3).reshape(h_out * h_in, 1, w_out, w_in)
    cells = F.avg_pool2d(rows, widths, ceil_mode=True).sqrt()  # cut windows are averaged over what they hold
    return cells.view(h_out, h_in, *cells.shape[-2:]).permute(0, 2, 1, 3).flatten(2).flatten(0, 1)


@torch.no_grad()
def block(layer: DenseConv, output_channel: int = 0, input_channel: int = 0) -> Tensor:
    """One channel pair's part of an eFCN's padded matrix.

    Dead local entries stand at the filter that was embedded, dead off-local ones at zero. A live standard FCN's dead
    weights, which differ from each other, are not kept: only their mean is shown.

    :param layer: Of an eFCN, in either layout.
    :param output_channel: From 0 on.
    :param input_channel: From 0 on.
    :returns: A copy, [h_out, w_out, h_padded, w_padded].
    :raises UserError: For a convolution with groups.

    >>> import torch
    >>> from efcnlab.run.weight_pictures import block
    >>> from efcnlib import embed
    >>> block(embed(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3, padding=1)), (1, 4, 4))[0]).shape
    torch.Size([4, 4, 6, 6])
    """
    g = layer.geometry
    if g.groups > 1:
        raise UserError(f"groups {g.groups}: only blocks of convolutions with groups 1 are shown")
    if not layer.live:
        return layer.weight.view(g.shape6(False))[output_channel, :, :, input_channel].clone()
    one = replace(g, c_in=1, c_out=1, groups=1)
    result = torch.zeros(one.shape(False), dtype=layer.weight.dtype, device=layer.weight.device)
    for (a, b), orbit in one.orbits(result, live=False):
        orbit.fill_(layer.dead_mean[output_channel, input_channel, a, b].item())
    live = layer.weight.view(g.shape6(True))[output_channel, :, :, input_channel]
    one.crop(result).copy_(live[None, :, :, None])
    return result.view(*g.out, g.rows.padded, g.cols.padded)
