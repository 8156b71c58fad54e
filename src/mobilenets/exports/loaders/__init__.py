"""What a bundle carries for other programs: a parity pack and short reference loaders. No torch in here."""

from mobilenets.exports.loaders.pack import write_parity_pack
from mobilenets.exports.loaders.write import write_loaders

__all__ = ["write_loaders", "write_parity_pack"]
