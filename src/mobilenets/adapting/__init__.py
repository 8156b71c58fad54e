"""NetAdapt on a trained network: narrower step by step until it meets a budget on its device."""

from mobilenets.adapting.adapt import Adapted, adapt, narrowed

__all__ = ["Adapted", "adapt", "narrowed"]
