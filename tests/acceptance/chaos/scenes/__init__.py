"""The faults, one scene each. A scene whose fault did not occur fails."""

from collections.abc import Callable

from tests.acceptance.chaos.scenes.broker import BrokerKilled, MessagesDoubled, QueuePurged
from tests.acceptance.chaos.scenes.clusters import GaleraIsolated, GaleraKilled, PrimaryKilled
from tests.acceptance.chaos.scenes.database import AccountLimit, DiskFull, ServerFull, ServerKilled
from tests.acceptance.chaos.scenes.families import ChildrenKilled, OwnStage, WaitsKilled
from tests.acceptance.chaos.scenes.mail import MailDies, MailRefused, MailSlow
from tests.acceptance.chaos.scenes.model import ModelBusy, ModelCuts, ModelHangs
from tests.acceptance.chaos.scenes.network import (
    BlackHoled,
    CommitLate,
    Cut,
    Delayed,
    HalfClosed,
)
from tests.acceptance.chaos.scenes.processes import (
    ClockOff,
    KilledEverySecond,
    LoopBlocked,
    NoFault,
    RollingSigterm,
)
from tests.acceptance.chaos.scenes.scene import Scene

__all__ = ["OwnStage", "Scene", "scenes"]


def scenes(*, mount: bool) -> dict[str, Callable[[], Scene]]:
    """How to make each scene, by name, in the order they are played."""
    return {
        NoFault.name: NoFault,
        KilledEverySecond.name: KilledEverySecond,
        ChildrenKilled.name: ChildrenKilled,
        WaitsKilled.name: WaitsKilled,
        RollingSigterm.name: RollingSigterm,
        LoopBlocked.name: LoopBlocked,
        ClockOff.name: ClockOff,
        AccountLimit.name: AccountLimit,
        DiskFull.name: lambda: DiskFull(mount=mount),
        ServerFull.name: ServerFull,
        ServerKilled.name: ServerKilled,
        CommitLate.name: CommitLate,
        Cut.name: Cut,
        Delayed.name: Delayed,
        BlackHoled.name: BlackHoled,
        HalfClosed.name: HalfClosed,
        ModelBusy.name: ModelBusy,
        ModelHangs.name: ModelHangs,
        ModelCuts.name: ModelCuts,
        MailRefused.name: MailRefused,
        MailSlow.name: MailSlow,
        MailDies.name: MailDies,
        GaleraKilled.name: GaleraKilled,
        GaleraIsolated.name: GaleraIsolated,
        PrimaryKilled.name: PrimaryKilled,
        BrokerKilled.name: BrokerKilled,
        QueuePurged.name: QueuePurged,
        MessagesDoubled.name: MessagesDoubled,
    }
