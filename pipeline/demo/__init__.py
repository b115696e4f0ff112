"""The demo dataset: real footage and photographs from installable packages, distorted, with
pseudo-MOS (VMAF) as labels.

The labels are not opinions: they are VMAF against the undistorted content, mapped to the scale 1 to
5. docs/decisions/0004-demo-dataset.md gives the reasons.
"""

from vqa_twostage.pipeline.demo.build import build_demo

__all__ = ["build_demo"]
