"""`dualtune adapters`: what adapters there are and how they stand; pack, install, remove and verify them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

    from mcp_dualtune.adapter_registry.listing import Listed, Live
    from mcp_dualtune.adapter_registry.manifest import Manifest
    from mcp_dualtune.config import Config

ACTIONS = {
    "list": "every adapter and how it stands",
    "show": "all that is known of one adapter",
    "pack": "write one adapter into a package file",
    "install": "check a package or an adapter folder and put it into use",
    "remove": "take one of your own adapters out of use",
    "verify": "hash the files of all adapters, or of one, anew",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions of `adapters` and their options."""
    from mcp_dualtune.cli.main import common

    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(parser))
    made = {name: actions.add_parser(name, help=about, description=about) for name, about in ACTIONS.items()}
    for name in ("show", "pack", "remove"):
        made[name].add_argument("target", metavar="NAME", help="the adapter, such as select/git")
    made["verify"].add_argument("target", nargs="?", metavar="NAME", help="only this adapter")
    made["install"].add_argument("target", metavar="FILE|FOLDER|NAME", help="package, adapter folder, or what to undo")
    made["install"].add_argument("--undo", action="store_true", help="bring back the NAME replaced or removed last")
    made["pack"].add_argument("-o", "--output", type=Path, metavar="FILE", help="default: NAME-DIGEST.zip here")
    for name in ("list", "show", "install"):
        made[name].add_argument("--offline", action="store_true", help="do not start servers to compare their tools")
    for name, action in made.items():
        if name not in ("list", "install"):
            action.add_argument("--base", default="", metavar="DIGEST", help="start of the base model's digest")
        common(action, default=argparse.SUPPRESS)
    made["install"].add_argument("--base", default="", metavar="DIGEST", help="with --undo: start of its base's digest")


def run(args: argparse.Namespace) -> int:
    """Do one of the actions."""
    from mcp_dualtune.config import load_config

    actions = {"install": _install, "remove": _remove, "verify": _verify, "pack": _pack, "show": _show, "list": _list}
    return actions[args.action](args, load_config(args.config))


def _list(args: argparse.Namespace, config: Config) -> int:
    from mcp_dualtune.cli import exits
    from mcp_dualtune.cli.show import Screen

    found = _listed(args, config, _live(args, config, {server.name for server in config.servers}))
    if args.json:
        exits.print_json(
            {"folder": str(config.settings.model.user_adapters), "adapters": [one.to_json() for one in found]}
        )
        return exits.DONE
    titles = ("adapter", "stage", "base", "rank", "MB", "before", "after", "from", "state")
    Screen().table(titles, [_row(one) for one in found])
    return exits.DONE


def _show(args: argparse.Namespace, config: Config) -> int:
    from mcp_dualtune.cli import exits
    from mcp_dualtune.cli.show import Screen

    named = _named(args, _listed(args, config, {}))
    servers = {one.manifest.server for one in named if one.manifest and one.manifest.server}
    found = _named(args, _listed(args, config, _live(args, config, servers)))
    if args.json:
        exits.print_json({"adapters": [one.to_json() for one in found]})
        return exits.DONE
    screen = Screen()
    for one in found:
        for key, value in one.to_json().items():
            if value not in (None, ""):
                screen.line(f"{key:<10} {value}", "bold" if key == "name" else "")
    return exits.DONE


def _pack(args: argparse.Namespace, config: Config) -> int:
    from mcp_dualtune.adapter_registry.package import pack
    from mcp_dualtune.cli import exits
    from mcp_dualtune.cli.show import Screen

    one = _only(args, _listed(args, config, {}))
    default = Path(f"{one.name.replace('/', '-')}-{(one.digest or '')[:12]}.zip")
    output = args.output or default
    record = pack(one.folder, output)
    if args.json:
        exits.print_json(
            {"file": str(output), "name": record.name, "digest": record.digest, "files": dict(record.files)}
        )
    else:
        Screen().line(f"{output}: {record.name}, content {record.digest}")
    return exits.DONE


def _install(args: argparse.Namespace, config: Config) -> int:
    from mcp_dualtune.adapter_registry.package import staged
    from mcp_dualtune.adapter_registry.store import check_below, other_base
    from mcp_dualtune.adapter_registry.user import UserAdapters
    from mcp_dualtune.cli.show import Screen
    from mcp_dualtune.models import seated_adapters

    place = config.settings.model.user_adapters
    assert place is not None
    if args.undo:
        manifest = UserAdapters(place).undo(args.target, args.base)
        return _done(args, manifest, "Brought back")
    with staged(Path(args.target).expanduser(), place) as found:
        manifest = found.manifest
        stores = {seat.store.base_digest: seat.store for seat in seated_adapters(config.settings.model)}
        if manifest.base_digest not in stores:
            raise other_base(manifest, next(iter(stores)))
        check_below(manifest, stores[manifest.base_digest])
        unchecked = _check_fingerprint(args, config, manifest)
        replaced = UserAdapters(place).put(found)
        digest = found.record.digest
    if unchecked and not args.json:
        Screen(error=True).line(f"Not compared with the live schemas: {unchecked}", "yellow")
    words = "Installed, and the old one kept for --undo:" if replaced else "Installed"
    return _done(args, manifest, words, digest=digest, replaced=replaced, unchecked=unchecked or None)


def _check_fingerprint(args: argparse.Namespace, config: Config, manifest: Manifest) -> str:
    """Compare with the live server where it can be asked; otherwise say why not.

    Raises:
        AdapterError: the tools are not those that the adapter was trained for.
    """
    from mcp_dualtune.adapter_registry.store import retrain
    from mcp_dualtune.errors import AdapterError

    if manifest.server is None:
        return ""
    if manifest.server not in {server.name for server in config.servers}:
        return f"the config has no server {manifest.server!r}."
    if args.offline:
        return "--offline was given."
    live = _live(args, config, {manifest.server})
    if (manifest.server, None) not in live:
        return f"the server {manifest.server!r} cannot be asked; see `dualtune servers`."
    if live.get((manifest.server, manifest.tool)) != manifest.schema_fingerprint:
        raise AdapterError(
            f"The adapter {manifest.name} was made for other tools than {manifest.server!r} offers now.",
            hint=retrain(manifest),
        )
    return ""


def _remove(args: argparse.Namespace, config: Config) -> int:
    from mcp_dualtune.adapter_registry.user import UserAdapters

    place = config.settings.model.user_adapters
    assert place is not None
    own = [one for one in _named(args, _listed(args, config, {})) if one.origin == "user"]
    one = _only(args, own or _listed(args, config, {}))
    UserAdapters(place).remove(one.folder)
    assert one.manifest is not None
    return _done(args, one.manifest, "Removed (`dualtune adapters install --undo` brings it back):")


def _verify(args: argparse.Namespace, config: Config) -> int:
    from mcp_dualtune.adapter_registry.package import check
    from mcp_dualtune.cli import exits
    from mcp_dualtune.cli.show import Screen
    from mcp_dualtune.errors import AdapterError

    found = _listed(args, config, {})
    results = []
    for one in found if args.target is None else _named(args, found):
        try:
            changed = check(one.folder, one.manifest) if one.manifest else (one.reason,)
        except AdapterError as error:
            changed = (error.message,)
        state = "unrecorded" if changed is None else "changed" if changed else "ok"
        results.append({"name": one.name, "state": state, "changed": list(changed or ()), "folder": str(one.folder)})
    bad = any(result["state"] == "changed" for result in results)
    if args.json:
        exits.print_json({"ok": not bad, "adapters": results})
    else:
        rows = [(str(r["name"]), str(r["state"]), ", ".join(r["changed"]), str(r["folder"])) for r in results]
        Screen().table(("adapter", "files", "changed", "folder"), rows)
    return exits.FAILED if bad else exits.DONE


def _listed(args: argparse.Namespace, config: Config, live: Live) -> tuple[Listed, ...]:
    from mcp_dualtune.adapter_registry.listing import list_adapters
    from mcp_dualtune.models import embedded_model, model_folder, seated_adapters

    model = config.settings.model
    configured = {server.name for server in config.servers}
    return list_adapters(seated_adapters(model), live, configured, {embedded_model(), model_folder(model)})


def _live(args: argparse.Namespace, config: Config, names: Collection[str]) -> Live:
    """Fingerprints of the servers `names` that the config has and that answer."""
    import anyio

    from mcp_dualtune.cli import session

    wanted = tuple(server.name for server in config.servers if server.name in names)
    if args.offline or not wanted:
        return {}

    async def ask() -> Live:
        async with session.open_gateway(args, model=False) as gateway:
            await gateway.wait_ready(wanted)
            live: dict[tuple[str, str | None], str] = {}
            for server in gateway.catalog.servers:
                live[server.name, None] = server.tools_fingerprint
                live |= {(server.name, tool.name): tool.schema_fingerprint for tool in server.tools}
            return live

    return anyio.run(ask)


def _named(args: argparse.Namespace, found: tuple[Listed, ...]) -> tuple[Listed, ...]:
    """The adapters called as the command line says.

    Raises:
        RequestError: there is none.
    """
    from mcp_dualtune.catalog.naming import near_names
    from mcp_dualtune.errors import RequestError

    bases = [one for one in found if one.manifest is None or one.manifest.base_digest.startswith(args.base)]
    named = tuple(one for one in bases if one.name == args.target)
    if not named:
        raise RequestError(
            f'There is no adapter "{args.target}".', hint=near_names(args.target, [one.name for one in bases])
        )
    return named


def _only(args: argparse.Namespace, found: Any) -> Listed:
    """The one adapter that is meant: of several of one base model, the one that comes first.

    Raises:
        RequestError: adapters of several base models are called so.
    """
    from mcp_dualtune.errors import RequestError

    named = [one for one in _named(args, tuple(found)) if one.manifest is not None and one.digest is not None]
    bases = sorted({one.manifest.base_digest for one in named if one.manifest})
    if len(bases) != 1:
        shown = ", ".join(base[:12] for base in bases) or "none that can be used"
        hint = "Say which with --base DIGEST (the start will do)."
        raise RequestError(f'"{args.target}" names adapters of several base models: {shown}.', hint=hint)
    return next((one for one in named if one.state != "shadowed"), named[0])


def _row(one: Listed) -> tuple[str, ...]:
    known = one.manifest
    size, state = f"{one.megabytes:.1f}", f"{one.state}: {one.reason}" if one.reason else one.state
    if known is None:
        return one.name, "", "", "", size, "", "", one.origin, state
    before, after = ("" if score is None else f"{score:.3f}" for score in (known.scores.before, known.scores.after))
    return one.name, known.stage, known.base_digest[:12], str(known.rank), size, before, after, one.origin, state


def _done(args: argparse.Namespace, manifest: Manifest, words: str, **more: Any) -> int:
    from mcp_dualtune.cli import exits
    from mcp_dualtune.cli.show import Screen

    if args.json:
        exits.print_json({"name": manifest.name, "base": manifest.base_digest, **more})
    else:
        Screen().line(f"{words} {manifest.name} (base {manifest.base_digest[:12]})")
    return exits.DONE
