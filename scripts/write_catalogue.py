"""Write what `linbp list` and `linbp show` say without importing torch: `python scripts/write_catalogue.py`."""

import json

from linbp.cli.catalogue import CATALOGUE, live_catalogue

CATALOGUE.write_text(json.dumps(live_catalogue(), indent=1) + "\n", encoding="utf-8")
print(CATALOGUE)
