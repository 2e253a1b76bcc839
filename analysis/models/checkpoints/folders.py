"""Where models lie that `analysis.load` knows by name."""

from pathlib import Path

DATA = Path(__file__).resolve().parents[3] / "data"
EMBEDDED = DATA / "mosaic_llava"
SMOLLM2 = DATA / "smollm2"  # set up by make
MOSAIC_SMOLLM2 = DATA / "mosaic_smollm2"
