"""What the processes take of the machine, read from /proc: memory, processor time."""

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """The resident memory of a process; 0 for one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    found = next((line for line in lines if line.startswith("VmRSS:")), "VmRSS: 0")
    return int(found.split()[1]) / 1_024


def cpu_s(pid: int) -> float:
    """The processor time that a process has taken so far."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * TICK_S


def busy_s() -> float:
    """The processor time that all processes of the machine have taken, over all processors."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _, _, irq, softirq, steal = (int(one) for one in fields[:8])
    return (user + nice + system + irq + softirq + steal) * TICK_S


@dataclass
class Watch:
    """The greatest resident memory of each process by name, and its share of one processor."""

    pids: dict[str, int]
    most_mib: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)

    async def work(self, every_s: float) -> None:
        """Look until cancelled; then the shares are there, "others" among them."""
        loop = asyncio.get_running_loop()
        began, busy = loop.time(), busy_s()
        taken = {name: cpu_s(pid) for name, pid in self.pids.items()}
        self.most_mib = dict.fromkeys(self.pids, 0.0)
        try:
            while True:
                for name, pid in self.pids.items():
                    self.most_mib[name] = max(self.most_mib[name], resident_mib(pid))
                await asyncio.sleep(every_s)
        finally:
            seconds = max(0.001, loop.time() - began)
            self.cpu = {
                name: (cpu_s(pid) - taken[name]) / seconds for name, pid in self.pids.items()
            }
            self.cpu["others"] = (busy_s() - busy) / seconds - sum(self.cpu.values())
