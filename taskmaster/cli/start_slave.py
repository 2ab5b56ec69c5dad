"""Starts a slave of this machine, whatever the user's files are called.

A fleet runs this file by its path. With `python -m` the working folder would be searched first, where a `queue.py` or
`click.py` of the user's would be found in place of the module that the slave needs. Here nothing is imported before the
search path has none but Python's own folders and installed packages. The user's come later: `targets/search_path.py`.

No name of this module is public: it is `__main__` in a slave, and pickles look for the user's classes there.
"""


def _start(file: str) -> None:
    import sys  # here, as below: see above

    folder, _, _ = file.rpartition("/")
    root = folder.removesuffix("/taskmaster/cli")
    sys.argv[0] = f"{folder}/slave.py"  # as with `python -m taskmaster.cli.slave`
    sys.path[:] = [other for other in sys.path if other not in ("", folder)]
    _import_taskmaster(root)
    if root not in sys.path:
        sys.path.append(root)  # that of a zip file may hold what it needs, too
    from taskmaster.cli.slave import main  # last of all

    main()


def _import_taskmaster(root: str) -> None:
    """The one that the fleet has, should there be others."""
    import sys  # here: see above
    from importlib.machinery import PathFinder  # here: see above
    from importlib.util import module_from_spec  # here: see above

    spec = PathFinder.find_spec("taskmaster", [root])
    assert spec is not None and spec.loader is not None, f"this file is in {root}/taskmaster"
    module = sys.modules["taskmaster"] = module_from_spec(spec)
    spec.loader.exec_module(module)


if __name__ == "__main__":
    _start(__file__)
