"""The segment task: a student learns from few masks and from its own average on all films."""

from copy import deepcopy

from torch import Tensor

from eye_gaze_data.batch import Batch
from saliency.context import paired_views
from saliency.module import TaskModule, TaskSettings
from saliency.network import Network
from saliency.terms import LossTerm

from .config import TeacherConfig
from .dice import OrganDice
from .losses import dice_bce, teacher_consistency
from .teacher import ramp_up, update_teacher, warmed_decay


class SegmentationModule(TaskModule):
    """Mean teacher for organ masks.

    With two views a film the teacher sees the first (the weak one) and the student the second; with
    one view there is no consistency. The teacher is what is validated and handed over.

    Args:
        network: the student.
        settings: of the stage.
        config: of the teacher.
    """

    def __init__(self, network: Network, settings: TaskSettings, config: TeacherConfig) -> None:
        super().__init__(network, settings)
        self.config = config
        self.teacher = deepcopy(network).requires_grad_(False).eval()
        self.dice = OrganDice(len(settings.organs))
        self._averaged = 0
        self._last: Tensor | None = None

    def on_train_start(self) -> None:
        """The teacher begins as the student, with all that was handed over to it."""
        if self.global_step == 0:
            update_teacher(self.teacher, self.network, 0.0)
        self._averaged = self.global_step

    def loss_terms(self, batch: Batch) -> dict[str, LossTerm]:
        """Dice and cross-entropy over annotated planes, consistency over film of both views.

        In training of the student, in validation of the teacher.
        """
        pairs, transform = paired_views(batch)
        image, masks, valid = batch["image"], batch["anatomy"], batch["valid"]
        strong = slice(None) if pairs is None else pairs[:, 1]
        network = self.network if self.training else self.teacher
        logits = network(image[strong], "segment")["anatomy_logits"]
        self._last = None if self.training else logits
        terms = {"dice_bce": LossTerm(dice_bce(logits, masks[strong], valid[strong]))}
        # In validation there is one view: nothing to be consistent with.
        if pairs is not None and transform is not None:
            weak = pairs[:, 0]
            target = self.teacher(image[weak], "segment")["anatomy_logits"]
            values = teacher_consistency(logits, target, transform, valid[strong], valid[weak])
            terms["teacher_consistency"] = LossTerm(values)
        return terms

    def _weighed(self, name: str, mean: Tensor, known: Tensor) -> Tensor:
        loss = super()._weighed(name, mean, known)
        return loss * self.ramp() if name == "teacher_consistency" else loss

    def ramp(self) -> float:
        """What the consistency's weight is multiplied by at this step."""
        steps = self.planned_steps()
        return ramp_up(self.global_step, float(self.config.ramp * steps))

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:
        """Average the student into the teacher, once a step of the optimiser."""
        del outputs, batch, batch_idx
        if self.global_step > self._averaged:
            self._averaged = self.global_step
            decay = warmed_decay(self.config.decay, self.global_step)
            update_teacher(self.teacher, self.network, decay)

    def validate(self, batch: Batch) -> None:
        """Dice of the teacher's masks on the network grid."""
        logits, self._last = self._last, None
        assert logits is not None  # noqa: S101 - the losses come first
        self.dice.update(logits.sigmoid(), batch["anatomy"], batch["valid"])
        self.log("valid/dice", self.dice)

    def exported(self) -> dict[str, Tensor]:
        """The teacher's weights."""
        return {name: value.detach().cpu() for name, value in self.teacher.state_dict().items()}

    def train(self, mode: bool = True) -> "SegmentationModule":
        """Training mode for the student alone."""
        super().train(mode)
        self.teacher.eval()
        return self
