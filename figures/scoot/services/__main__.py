"""``python -m figures.scoot.services``: write the services' traces."""

from figures.scoot.services import FOLDER, SERVICES
from traces.writers import write

for service in SERVICES.values():
    write(service.workload(), FOLDER / f"{service.name}.jsonl.gz", "mooncake")
