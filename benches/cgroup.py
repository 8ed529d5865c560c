"""A memory cgroup for what a script starts: its limit, and the most that was used of it."""

import os


class Group:
    """A memory cgroup, or none where none can be made."""

    def __init__(self, limit):
        self.folder, self.peak_file, self.why = None, None, "not inside a memory cgroup: none can be made here"
        kinds = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes", ":memory:"),
            ("/sys/fs/cgroup", "memory.max", "memory.peak", "0::"),
        ]
        try:
            with open("/proc/self/cgroup") as file:
                own = file.read().splitlines()
        except OSError:
            return
        for root, limits, peak, mark in kinds:
            below = next((line.split(mark, 1)[1].strip("/") for line in own if mark in line), "")
            for parent in {os.path.join(root, below), root}:
                folder = os.path.join(parent, f"strata-benches-{os.getpid()}")
                try:
                    os.mkdir(folder)
                except OSError:
                    continue
                try:
                    # An ordinary folder has no such file, and must not be given one.
                    with open(os.path.join(folder, limits), "r+") as file:
                        file.write(str(limit))
                except OSError:
                    os.rmdir(folder)
                    continue
                self.folder, self.peak_file, self.why = folder, peak, None
                return

    def enter(self):
        if self.folder:
            with open(os.path.join(self.folder, "cgroup.procs"), "w") as file:
                file.write(str(os.getpid()))

    def peak(self):
        if not self.folder:
            return None
        try:
            with open(os.path.join(self.folder, self.peak_file)) as file:
                return int(file.read())
        except OSError:
            return None

    def remove(self):
        if self.folder:
            os.rmdir(self.folder)
