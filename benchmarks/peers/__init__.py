"""One file per system that does the work; each is a function ``run(workload, threads) -> dict``.

The dictionary holds

    import_seconds   importing the system
    setup_seconds    from the arrays to a system that is ready: copies, initial weights
    compile_seconds  compiling, the first step included where the two cannot be told apart; 0 if nothing is
    epoch_seconds    a list: wall-clock time of every epoch
    final_loss       mean training loss over all rows, after the last step
    threads          what the system computed with

`python -m benchmarks.peers NAME WORKLOAD THREADS` runs one and prints the dictionary as JSON, together with

    peak_bytes       the most memory that the process ever held, imports and data included
"""
