"""From folders of images to batches: decoding, labels, decoded squares, augmentation.

    decode    one encoded image -> uint8 h w 3                       no torch
    folder    a data set -> labelled samples in splits               no torch
    formats   which reader lists a data set: class folders (layout), tables (csv_file, parquet), shards, hugging_face,
              boxes and masks (voc, coco, yolo, masks)
    cache     samples -> decoded squares, in memory or on disk       no torch
    stretched samples with boxes or masks -> whole images            no torch
    scenes    seeded drawn scenes for examples and tests             no torch
    drafts    one encoded image -> a square to train on, quickly     torch
    augment   a batch of squares -> a batch for the network          torch
    augment_boxes, augment_masks   the same, with boxes or masks that follow   torch
    batches   squares -> shuffled or ordered batches                 torch

Modules are imported by their full name, so that reading an image never loads torch.
"""

from __future__ import annotations

__all__ = ["augment", "batches", "cache", "decode", "drafts", "folder", "formats", "scenes"]
