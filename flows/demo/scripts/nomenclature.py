"""Nomenclature: full names of lineages, from a simulated naming service or from the copy beside the flow.

`nomenclature.py service` asks the service. With `SIMULATE_FAILURES=true` the service is down: the script says
so in its output `available` and succeeds, so that the flow takes the other road on purpose.
`nomenclature.py copy` is that other road. Both write `nomenclature.json`, if they can.
"""

import sys

from sequences import emit, fail, flag_from_env, read_json, write_json


def main() -> None:
    """Runs the task."""
    source = sys.argv[1] if len(sys.argv) == 2 else ""
    if source not in {"service", "copy"}:
        fail("say where the names come from: `nomenclature.py service` or `nomenclature.py copy`")
    if source == "service" and flag_from_env("SIMULATE_FAILURES"):
        print("simulated: the naming service is down; the flow goes on with the copy beside it", file=sys.stderr)
        emit(outputs={"available": False})
        return
    names = read_json("names.json")
    write_json("nomenclature.json", {"source": source, "names": names})
    print(f"{sum(map(len, names.values()))} lineage names from the {source}")
    emit(outputs={"available": True})


if __name__ == "__main__":
    main()
