"""Studies recorded on a machine that is lent for minutes: `python benchmarks/record.py` has the commands.

`prepare` makes what is carried there, with `pieces` of the images. There `call` is one call: it starts `worker`
processes, which go through the `agenda` on one `work_folder`, and keeps `packs` of what is done.
"""
