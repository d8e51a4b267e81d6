"""`downslope rules`: every update rule, a line each."""


def rules() -> None:
    """List the update rules.

    What each adapts, what it keeps in memory, and its paper.
    """
    from rich.console import Console
    from rich.table import Table

    from downslope.rules.registry import RULES

    table = Table("rule", "adapts", "memory", "paper", box=None, pad_edge=False)
    for info in RULES.values():
        table.add_row(info.name, info.adapts, info.memory, info.paper)
    console = Console(highlight=False)
    console.width = console.width if console.is_terminal else 120
    console.print(table)
    console.print("memory: numbers kept per parameter")
