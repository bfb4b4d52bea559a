"""A Truss on a platform, for the handle and the command line: its image, its plan, and what became of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from truss import containers, deploy
from truss.build import Built, LayerCache, Options, add_to_lock, build
from truss.build.archive import archive
from truss.build.cache import key_of
from truss.build.chosen import chosen_lock
from truss.build.lock import FILE as LOCK
from truss.build.own import server_layers, truss_digest, truss_layers
from truss.build.pushes import push
from truss.config import TrussConfig, read_config
from truss.deploy import (
    Change,
    Feature,
    Plan,
    Platform,
    Release,
    Revision,
    Status,
    Storage,
    Stores,
    Target,
    name_of,
)
from truss.deploy.http2 import tell_of_grpc
from truss.environments.kept import cache_dir
from truss.errors import (
    DeployError,
    InvalidReferenceError,
    NotDeployedError,
    PlanError,
    PlatformRefusalError,
    PlatformUnreachableError,
    TrussError,
    UnhealthyError,
)
from truss.model import Secrets
from truss.model.examples import MISSING, read_examples
from truss.oci import Platform as Machine
from truss.oci import Reference

if TYPE_CHECKING:
    from truss.deploy.target import ArchivePlatform

Say = Callable[[str], None]

HEALTHY_WITHIN = 900.0
"""Seconds that a deployment may take until it answers: machines are found, images pulled, models loaded."""

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two looks at a deployment: the quick is seen at once, the slow is not asked often."""


def deployment_of(
    truss_dir: Path,
    to: str | None = None,
    *,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
    words: Sequence[str] = (),
) -> Deployment:
    """A Truss and where it goes.

    Args:
        truss_dir: The Truss.
        to: The name of the target; default: the only one that the config has options for.
        name: The name of the deployment; default: after the model's name, else the folder's.
        options: Options of the target; they go before those of the config.
        words: Such options as words of a command line; they go before all others.

    Raises:
        ConfigError, NotATrussError: there is no Truss, or its config is wrong.
        PlanError: an option is wrong, or no target is named.
        DeployError: there is no such target, or the name does not do.
    """
    config = read_config(truss_dir)
    # What is empty is a mistake, of a script whose variable is not set, and not the default.
    target = deploy.target_named(_only_target(config) if to is None else to)
    name = _name(config, truss_dir) if name is None else name
    deploy.check_name(name)
    given = {**config.deploy.get(target.name, {}), **(options or {}), **deploy.from_words(target, words)}
    read = deploy.read_options(target, given)
    return Deployment(truss_dir, config, target, read, name)


def _name(config: TrussConfig, truss_dir: Path) -> str:
    return name_of(config.model_name or truss_dir.resolve().name)


def _only_target(config: TrussConfig) -> str:
    if len(config.deploy) == 1:
        return next(iter(config.deploy))
    names = ", ".join(config.deploy) or ", ".join(target.name for target in deploy.targets())
    raise PlanError("no target is named", where="--to", hint=f"one of {names}; see `truss targets`")


@dataclass(frozen=True)
class BuiltImage:
    """The image of a Truss.

    Attributes:
        name: What the platform gets it by: with its digest, or as this machine's engine calls it.
        made: What is pushed; None: the engine has it, and it goes nowhere.
        storage: The platform's own place for it; None: it goes where its name says.
        archive: The archive that a platform without images takes instead; None: it takes images.
    """

    name: str
    made: Built | None = None
    storage: Storage | None = None
    archive: Path | None = None


@dataclass(frozen=True)
class Deployment:
    """A Truss and where it goes.

    Attributes:
        truss_dir: The Truss.
        config: Its config.
        target: The target.
        options: What the target is told.
        name: The name of the deployment.
    """

    truss_dir: Path
    config: TrussConfig
    target: Target
    options: Any
    name: str

    @cached_property
    def platform(self) -> Platform:
        """The connection to the platform.

        Raises:
            MissingExtraError: the platform's package is not installed.
            PlatformAuthError: there are no credentials.
        """
        return self.target.connect(self.options)

    def plan(self, image: str | None = None) -> Plan:
        """What the deployment would be. Needs no credentials and no network.

        Args:
            image: The image that is to run; default: the name that the Truss's would be pushed under.

        Raises:
            PlanError: the target cannot do what is asked.
            InvalidReferenceError: what is to run cannot be the name of an image.
        """
        named = self._image_to_be() if image is None else self._checked(image)
        release = Release(self.name, named, self.config)
        return tell_of_grpc(self.target.plan(release, self.options), release, self.target)

    def changes(self, plan: Plan, *, unset_too: bool = False) -> tuple[Change, ...]:
        """What the plan would change now.

        Args:
            plan: The plan.
            unset_too: Whether secrets may lack a value on this machine; they are then taken for others.

        Raises:
            NameTakenError: a resource is there that is not the deployment's.
            DeployError: the platform refuses to show what is there, or a secret has no value.
        """
        secrets: Mapping[str, str | None] = Secrets(self.config.secrets)
        if unset_too:
            secrets = {**secrets, **dict.fromkeys(self.unset_secrets(), "")}
        return deploy.compare(plan, self.platform, secrets)

    def unset_secrets(self) -> Sequence[str]:
        """The model's secrets that have no value on this machine."""
        return [name for name, value in Secrets(self.config.secrets).items() if value is None]

    def check_lock(self) -> None:
        """See that the image can be made of exactly what the Truss's lock says.

        Raises:
            ImageError: there is no lock, or it was made for something else.
            PlanError: the target takes no image, and installs packages itself.
        """
        if isinstance(self.target, deploy.ArchiveTarget):
            raise PlanError(
                f"{self.target.name} installs packages itself, so that nothing holds it to {LOCK}",
                hint="pin them in config.yaml, and leave out --locked",
            )
        chosen_lock(self.truss_dir, self.config, (), locked=True)

    def image(self, say: Say = lambda _: None, *, pushed: bool = True, locked: bool = False) -> str:
        """The image of the Truss, by its digest: built, and pushed unless it is there.

        It has exactly the base and wheels of the Truss's lock, if there is one that fits. For a target that
        runs no images, the archive that it takes instead.

        Args:
            say: Told what goes on.
            pushed: Whether it is to be pushed.
            locked: Whether there has to be a lock that fits.

        Raises:
            PlanError: no repository is known to push it to, or `locked` means nothing to the target.
            ImageError, EnvironmentBuildError, MissingExtraError: it cannot be built or pushed.
            EngineError: the target takes images of this machine's engine, and that refuses.
            DeployError: the platform has a place for images, and refuses it.
        """
        built = self.built(say, locked=locked)
        if pushed:
            self.push(built, say)
        return built.name

    def built(self, say: Say = lambda _: None, *, locked: bool = False) -> BuiltImage:
        """The image of the Truss, not pushed yet; nothing is made anywhere but on this machine.

        Args:
            say: As for `image`; so is `locked`.
            locked: Whether there has to be a lock that fits.

        Raises:
            As `image`.
        """
        if locked:
            self.check_lock()
        built = self._built(say, locked)
        if built.archive is None:
            self._cache.keep_text(self._key(), built.name)
        return built

    def _built(self, say: Say, locked: bool) -> BuiltImage:
        if isinstance(self.target, deploy.ArchiveTarget):
            packed = archive(self.truss_dir.resolve(), cache_dir() / "archives")
            return BuiltImage(self.target.archive(packed.digest, self.options), archive=packed.path)
        if self.target.repository(self.options) is None:
            return BuiltImage(containers.build_image(self.truss_dir, locked=locked, say=say))
        storage = self._storage()
        repository = storage.repository if storage is not None else self._repository()
        made = self._made(self._cache, say, locked)
        name = Reference.parse(f"{repository}@{made.image.digest}")
        return BuiltImage(str(name), made, storage)

    def push(self, built: BuiltImage, say: Say = lambda _: None) -> None:
        """Push an image unless it is there; the platform's place for it is made before.

        Raises:
            As `image`.
        """
        if built.archive is not None:
            say(f"Putting the archive at {built.name}")
            cast("ArchivePlatform", self.platform).upload(built.archive, built.name)
        if built.made is None:
            return
        credentials, repository = None, built.name.partition("@")[0]
        if built.storage is not None:
            stores = self._stores
            deploy.make(self.plan(built.name), built.storage.resource, self.platform, say)
            credentials, repository = stores.login(), built.storage.pushed_to
        destination = Reference.parse(f"{repository}:{built.made.image.digest.hex[:16]}")
        say(f"Pushing to {destination}")
        push(built.made.image, destination, self._cache, built.made.attached, credentials=credentials)

    def apply(
        self,
        plan: Plan,
        *,
        wait: bool = True,
        timeout: float = HEALTHY_WITHIN,
        say: Say = lambda _: None,
    ) -> Status:
        """Make the platform what the plan says, and see that it answers as the Truss's examples expect.

        A deployment that was there before goes back to what it was when the new one does not.

        Args:
            plan: The plan, of an image that the platform can get.
            wait: Whether to wait until it answers, and to check what; else how it does now is returned.
            timeout: Seconds that it may take until it answers.
            say: Told of each step.

        Raises:
            UnhealthyError: it does not answer, or not as expected; says what was done about it.
            DeployError: the platform refuses a step; another try goes on from there.
        """
        before = next((one for one in self.platform.revisions(self.name) if one.current), None)
        try:
            deploy.apply(plan, self.platform, Secrets(self.config.secrets), say)
            if not wait:
                return self.status()
            status = self.wait(timeout=timeout, say=say)
            if plan.asked:
                self.check(say)
        except (PlatformRefusalError, UnhealthyError) as error:
            if wait:
                error.hint = "; ".join(filter(None, (error.hint, self._go_back(before, timeout, say))))
            raise
        return status

    def wait(
        self,
        *,
        timeout: float = HEALTHY_WITHIN,
        say: Say = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Status:
        """Return once the deployment answers.

        Raises:
            UnhealthyError: it does not, in time.
        """
        deadline = time.monotonic() + timeout
        last, pause = "", _SHORTEST_PAUSE
        while True:
            status = self._seen(deadline)
            if status is None:
                sleep(_LONGEST_PAUSE)
                continue
            if status.state == "healthy":
                return status
            detail = "; ".join(status.detail)
            if status.state == "failed" or time.monotonic() > deadline:
                when = "failed" if status.state == "failed" else f"does not answer after {timeout:.0f} s"
                raise UnhealthyError(f"the deployment '{self.name}' {when}: {detail or status.state}")
            told = f"{status.ready} of {status.wanted} ready{f': {detail}' if detail else ''}"
            if told != last:
                say(told)
                last = told
            sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _seen(self, deadline: float) -> Status | None:
        """How it does; None where the platform gives no answer just now."""
        try:
            return self.status()
        except PlatformUnreachableError:
            if time.monotonic() > deadline:
                raise
            return None

    def check(self, say: Say = lambda _: None) -> int:
        """Ask the deployment the Truss's examples; gives how many there were.

        Raises:
            UnhealthyError: an answer is not the expected one.
        """
        examples = [one for one in read_examples(self.truss_dir, self.config) if one.expected is not MISSING]
        for example in examples:
            try:
                answer = json.loads(self.platform.ask(self.name, json.dumps(example.input).encode()))
            except (TrussError, ValueError) as error:
                raise UnhealthyError(f"the example '{example.name}' was not answered: {error}") from error
            found = example.difference(answer)
            if found is not None:
                raise UnhealthyError(f"the answer to the example '{example.name}' is another:\n{found}")
        if examples:
            say(f"{len(examples)} examples answered as expected")
        return len(examples)

    def status(self) -> Status:
        """How it does.

        Raises:
            NotDeployedError: there is none of this name.
        """
        found = self.platform.status(self.name)
        if found is None:
            raise NotDeployedError(
                f"nothing is deployed to {self.target.name} under the name '{self.name}'",
                hint=f"deploy it: truss deploy {self.truss_dir} --to {self.target.name}",
            )
        return found

    def all_on_target(self) -> Sequence[Status]:
        """How everything does that was deployed there, of this Truss or another."""
        return self.platform.deployments()

    def logs(self, *, follow: bool = False, lines: int = 100) -> Iterator[str]:
        """What its servers have written, without line ends.

        Raises:
            NotDeployedError: there is none of this name.
        """
        self.status()
        return self.platform.logs(self.name, follow=follow, lines=lines)

    def destroy(self, say: Say = lambda _: None) -> tuple[str, ...]:
        """Remove everything that was made for it, and nothing else; gives what that was.

        Raises:
            NotDeployedError: there is none of this name.
        """
        return deploy.destroy(self.name, self.platform, say)

    def roll_back(
        self,
        to: str | None = None,
        *,
        wait: bool = True,
        timeout: float = HEALTHY_WITHIN,
        say: Say = lambda _: None,
    ) -> Status:
        """Make it again what it was, and return once it answers.

        Args:
            to: The revision; default: what had the requests before the present one, never a later one.
            wait: Whether to wait until it answers; else how it does now is returned.
            timeout: Seconds that it may take until it answers.
            say: Told of each step.

        Raises:
            NotDeployedError: there is none of this name, or no such revision of it.
            UnhealthyError: it does not answer in time.
        """
        self.status()
        revision = self._revision(to)
        say(f"Going back to revision {revision.id}, {revision.image}")
        self.platform.roll_back(self.name, revision)
        return self.wait(timeout=timeout, say=say) if wait else self.status()

    def revisions(self) -> Sequence[Revision]:
        """The states that it can go back to, and the present one, the oldest first."""
        return self.platform.revisions(self.name)

    def _revision(self, to: str | None) -> Revision:
        found = list(self.revisions())
        others = [one for one in found if not one.current]
        chosen = _before(found) if to is None else next((one for one in others if one.id == to), None)
        if chosen is None:
            ids = ", ".join(one.id for one in others)
            raise NotDeployedError(
                f"'{self.name}' has no revision {to!r}" if to else f"'{self.name}' has no earlier revision",
                hint=f"name one with --revision: {ids}" if ids else "deploy the earlier Truss again",
            )
        return chosen

    def _go_back(self, before: Revision | None, timeout: float, say: Say) -> str:
        """Go back to a revision, and wait until it answers; gives what to tell about it."""
        if before is None:
            return "it is left as it is: see `truss logs`, then deploy again or `truss destroy`"
        back = f"revision {before.id}, {before.image}"
        try:
            if any(one.current and one.id == before.id for one in self.platform.revisions(self.name)):
                return "it is what it was before: see `truss logs`"
            say(f"Going back to revision {before.id}")
            self.platform.roll_back(self.name, before)
            self.wait(timeout=timeout, say=say)
        except DeployError as error:
            return f"going back to {back} did not mend it: {error.message}"
        return f"it went back to {back}"

    @property
    def _stores(self) -> Stores:
        assert isinstance(self.platform, Stores), "its target says that it keeps images"
        return self.platform

    def _storage(self) -> Storage | None:
        """The platform's own place for images; None where it has none, or the user names another."""
        if self.target.repository(self.options) or Feature.STORES not in self.target.features:
            return None
        return self._stores.storage(self.name)

    def _repository(self) -> str:
        repository = self.target.repository(self.options)
        if not repository:
            raise PlanError(
                f"it is not known where images for {self.target.name} are pushed",
                where=f"deploy.{self.target.name}.repository",
                hint="say it: --repository ghcr.io/team/name, or name a pushed image: --image",
            )
        return repository

    def _checked(self, image: str) -> str:
        """The name of an image, where the target runs images."""
        if not isinstance(self.target, deploy.ArchiveTarget):
            try:
                Reference.parse(image)
            except InvalidReferenceError as error:
                error.where = error.where or "--image"
                raise
        return image

    def _image_to_be(self) -> str:
        """The name of an image of the Truss, as far as it can be said before it is built."""
        if isinstance(self.target, deploy.ArchiveTarget):
            return self.built().name
        repository = self.target.repository(self.options)
        built_before = self._cache.text_of(self._key())
        if built_before is not None:
            return built_before
        digest = self._digest()
        return f"{repository or f'truss/{self.name}'}:{digest.removeprefix('sha256:')[:16]}"

    @property
    def _cache(self) -> LayerCache:
        return LayerCache(cache_dir() / "images")

    def _digest(self) -> str:
        return truss_digest(truss_layers(self.truss_dir.resolve(), self.config, self._cache))

    def _key(self) -> str:
        """What the name of its image is noted under when that is built, for plans to tell it again."""
        repository = self.target.repository(self.options)
        server = [str(layer.diff_id) for layer in server_layers(self._cache)]
        return key_of("name", self.target.name, self.name, repr(repository), self._digest(), *server)

    def _made(self, cache: LayerCache, say: Say, locked: bool) -> Built:
        """The image: of exactly what the lock says, if there is one that fits."""
        platforms = (Machine("amd64"),)
        lock = chosen_lock(self.truss_dir, self.config, platforms, say, locked=locked)
        options = Options(platforms, lock=lock, secrets=Secrets(self.config.secrets))
        built = build(self.truss_dir, self.config, options, cache, say)
        if lock is None:
            add_to_lock(self.truss_dir, built.lock)
        return built


def _before(revisions: Sequence[Revision]) -> Revision | None:
    """What had the requests before the present revision, as far as the platform tells; None: nothing had."""
    place = next((number for number, one in enumerate(revisions) if one.current), len(revisions))
    earlier = revisions[:place]
    named = {one.before for one in revisions[place : place + 1]}
    return next((one for one in earlier if one.id in named), earlier[-1] if earlier else None)
