"""Logins, users, personal tokens and the first start, over the store in memory and a clock that stands still."""

import asyncio
import datetime

import pytest

from control_plane import errors
from control_plane.domain import values
from control_plane.fakes.store import MemoryStore
from control_plane.notifier import LocalNotifier
from control_plane.services import sessions, setup, signing
from control_plane.services.accounts import Accounts
from control_plane.services.context import Context
from control_plane.services.tokens import NewToken, Tokens
from control_plane.services.users import NewUser, UserChanges, Users
from tests import builders

EMAIL, PASSWORD = "operator@example.com", "correct horse battery"
HERE = values.Principal("", "", address="192.0.2.7", request_id="req_1")


@pytest.fixture
def context():
    return Context(MemoryStore(), LocalNotifier(), builders.StillClock(), builders.CountingIds())


@pytest.fixture
async def accounts(context):
    made = Accounts(context)
    await made.ensure_admin(EMAIL, PASSWORD)
    return made


@pytest.fixture
def users(context, accounts):
    return Users(context, accounts.passwords)


@pytest.fixture
def tokens(context):
    return Tokens(context)


@pytest.fixture
async def operator(accounts):
    """Logged in."""
    family = await accounts.login(HERE, EMAIL, PASSWORD)
    return (await accounts.sessions.of_login(family.user_id, family.id)).principal


async def audited(context, action):
    async with context.store.read() as tx:
        return await tx.list_audit(None, values.AuditQuery(action=action), None, 50)


async def is_good(accounts, family):
    try:
        await accounts.sessions.of_login(family.user_id, family.id)
    except errors.UnauthenticatedError:
        return False
    return True


async def refresh(accounts, family):
    return await accounts.sessions.refresh(HERE, family.user_id, family.id, family.jti)


class TestLogins:
    async def test_a_login_and_a_refused_one_are_audited_with_their_address_and_without_the_password(
        self, context, accounts
    ):
        await accounts.login(HERE, EMAIL, PASSWORD)
        with pytest.raises(errors.UnauthenticatedError):
            await accounts.login(HERE, "x" * 300, "a wrong password")
        (good,), (bad,) = await audited(context, "auth.login"), await audited(context, "auth.login_refused")
        assert (good.actor_name, good.address) == (EMAIL, "192.0.2.7")
        assert bad.data == {"email": "x" * 254}
        assert "password" not in repr(bad.data)

    async def test_a_refresh_token_is_good_for_one_use_and_a_second_one_ends_the_login(self, context, accounts):
        first = await accounts.login(HERE, EMAIL, PASSWORD)
        second = await refresh(accounts, first)
        third = await refresh(accounts, second)
        assert await is_good(accounts, third)
        with pytest.raises(errors.UnauthenticatedError):
            await refresh(accounts, first)
        assert not await is_good(accounts, third)
        with pytest.raises(errors.UnauthenticatedError):
            await refresh(accounts, third)
        (row,) = await audited(context, "auth.reuse_detected")
        assert (row.target, row.data) == (first.id, {"user": first.user_id})
        async with context.store.read() as tx:
            (event,) = await tx.list_events(None, values.EventQuery(types=("auth.reuse_detected",)), 0, 9)
        assert event.subject == first.user_id

    async def test_of_two_racing_refreshes_one_wins_and_then_both_are_out(self, accounts):
        family = await accounts.login(HERE, EMAIL, PASSWORD)
        done = await asyncio.gather(*(refresh(accounts, family) for _ in range(2)), return_exceptions=True)
        assert sum(isinstance(one, values.Family) for one in done) == 1
        assert sum(isinstance(one, errors.UnauthenticatedError) for one in done) == 1
        assert not await is_good(accounts, family)

    async def test_a_login_ends_after_thirty_days_however_often_it_was_refreshed(self, context, accounts):
        family = await accounts.login(HERE, EMAIL, PASSWORD)
        context.clock.advance(sessions.LOGIN_S - 1)
        family = await refresh(accounts, family)
        context.clock.advance(1)
        with pytest.raises(errors.UnauthenticatedError):
            await refresh(accounts, family)

    async def test_a_login_of_somebody_else_is_no_login(self, accounts):
        family = await accounts.login(HERE, EMAIL, PASSWORD)
        for user, login in (("usr_other", family.id), (family.user_id, "fam_other")):
            with pytest.raises(errors.UnauthenticatedError):
                await accounts.sessions.of_login(user, login)
            with pytest.raises(errors.UnauthenticatedError):
                await accounts.sessions.refresh(HERE, user, login, family.jti)

    async def test_another_password_ends_the_other_logins_and_not_this_one(self, context, accounts, operator):
        other = await accounts.login(HERE, EMAIL, PASSWORD)
        await accounts.change_password(operator, PASSWORD, "a longer horse battery")
        assert not await is_good(accounts, other)
        await accounts.sessions.of_login(operator.user_id, operator.family)
        await accounts.verify(EMAIL, "a longer horse battery")
        with pytest.raises(errors.UnauthenticatedError):
            await accounts.verify(EMAIL, PASSWORD)
        assert len(await audited(context, "auth.password_changed")) == 1

    async def test_a_password_is_changed_by_who_knows_it_and_is_long_enough(self, context, accounts, operator):
        for current, new, field in (("wrong", "a longer horse battery", "current"), (PASSWORD, "short", "new")):
            with pytest.raises(errors.InvalidError) as caught:
                await accounts.change_password(operator, current, new)
            assert caught.value.details["field"] == field
        assert len(await audited(context, "auth.password_refused")) == 1
        await accounts.verify(EMAIL, PASSWORD)

    async def test_a_personal_token_neither_changes_the_password_nor_logs_out(self, accounts):
        token = values.Principal("usr_1", EMAIL, operator=True)
        with pytest.raises(errors.ForbiddenError):
            await accounts.change_password(token, PASSWORD, "a longer horse battery")
        with pytest.raises(errors.ForbiddenError):
            await accounts.sessions.end(token)


class TestSigning:
    async def test_a_rotated_key_signs_and_the_older_one_stays_known(self, context):
        keys = signing.Signing(context)
        (first,) = await keys.keys()
        second = await keys.rotate()
        assert await keys.keys() == (first, second)
        context.clock.advance(sessions.LOGIN_S)
        third = await keys.rotate()
        assert [one.kid for one in await keys.keys()] == [second.kid, third.kid]
        assert await keys.rotate(forget_older=True) == (await keys.keys())[0]

    async def test_the_key_for_digests_stays(self, context, accounts):
        made = await accounts.pepper()
        assert await accounts.pepper() == made == await Accounts(context).pepper()


class TestUsers:
    async def test_an_address_belongs_to_one_account(self, users, operator):
        made = await users.create(operator, NewUser(" Ada@Example.com", "long enough"))
        assert (made.email, made.operator) == ("ada@example.com", False)
        with pytest.raises(errors.ConflictError) as caught:
            await users.create(operator, NewUser("ada@example.com", "long enough"))
        assert caught.value.details == {"id": made.id}
        with pytest.raises(errors.ConflictError):
            await users.update(operator, made.id, UserChanges(email=EMAIL))

    async def test_they_are_listed_and_found_by_id_and_email(self, users, operator):
        made = await users.create(operator, NewUser("ada@example.com", "long enough"))
        assert [one.email for one in (await users.list(operator)).items] == [EMAIL, "ada@example.com"]
        assert (await users.list(operator, email="ADA@example.com")).items == (made,)
        assert (await users.list(operator, email="none")).items == ()
        assert await users.get(operator, made.id) == await users.get(operator, "ada@example.com") == made
        with pytest.raises(errors.NotFoundError):
            await users.get(operator, "usr_none")

    async def test_who_is_no_operator_sees_and_changes_nobody(self, users, operator):
        for call in (
            users.list(builders.NOBODY),
            users.get(builders.NOBODY, operator.user_id),
            users.create(builders.NOBODY, NewUser("a@b.c", "long enough")),
            users.update(builders.NOBODY, operator.user_id, UserChanges(disabled=True)),
            users.delete(builders.NOBODY, operator.user_id),
        ):
            with pytest.raises(errors.ForbiddenError):
                await call

    @pytest.mark.parametrize("changes", [UserChanges(operator=False), UserChanges(disabled=True)])
    async def test_the_last_operator_stays_one(self, users, operator, changes):
        with pytest.raises(errors.ConflictError):
            await users.update(operator, operator.user_id, changes)
        with pytest.raises(errors.ConflictError):
            await users.delete(operator, operator.user_id)
        second = await users.create(operator, NewUser("second@example.com", "long enough", operator=True))
        await users.update(operator, second.id, UserChanges(disabled=True))
        with pytest.raises(errors.ConflictError):
            await users.update(operator, operator.user_id, changes)
        await users.update(operator, second.id, UserChanges(disabled=False))
        assert (await users.update(operator, operator.user_id, changes)).generation == 2

    @pytest.mark.parametrize("changes", [UserChanges(disabled=True), UserChanges(password="another password")])
    async def test_who_is_disabled_or_gets_another_password_is_logged_out(
        self, context, accounts, users, operator, changes
    ):
        made = await users.create(operator, NewUser("ada@example.com", "long enough"))
        family = await accounts.login(HERE, "ada@example.com", "long enough")
        changed = await users.update(operator, made.id, changes)
        assert changed.valid_from == context.clock.now().timestamp()
        assert not await is_good(accounts, family)
        (row,) = await audited(context, "user.updated")
        assert "another password" not in repr(row)

    async def test_no_change_is_no_generation(self, context, users, operator):
        assert (await users.update(operator, operator.user_id, UserChanges(email=EMAIL))).generation == 1
        assert await audited(context, "user.updated") == []

    async def test_a_removed_user_takes_everything_along_and_the_audit_names_projects_without_owner(
        self, context, accounts, users, operator
    ):
        made = await users.create(operator, NewUser("ada@example.com", "long enough"))
        family = await accounts.login(HERE, "ada@example.com", "long enough")
        async with context.store.write() as tx:
            for project, other in (("prj_1", None), ("prj_2", operator.user_id)):
                await tx.put_member(values.Member(project, made.id, "owner", builders.START))
                if other:
                    await tx.put_member(values.Member(project, other, "owner", builders.START))
        await users.delete(operator, made.id)
        assert not await is_good(accounts, family)
        (row,) = await audited(context, "user.deleted")
        assert row.data["projects_without_owner"] == ["prj_1"]

    async def test_a_personal_token_makes_no_operator_and_sets_no_password(self, users, operator):
        token = values.Principal(operator.user_id, EMAIL, operator=True)
        made = await users.create(token, NewUser("ada@example.com", "long enough"))
        for call in (
            users.create(token, NewUser("b@example.com", "long enough", operator=True)),
            users.update(token, made.id, UserChanges(operator=True)),
            users.update(token, made.id, UserChanges(password="another password")),
        ):
            with pytest.raises(errors.ForbiddenError):
                await call


class TestTokens:
    async def test_a_token_is_shown_once_and_stored_as_a_digest(self, context, accounts, tokens, operator):
        token, secret = await tokens.create(operator, NewToken("ci"))
        assert secret.startswith("pat_")
        assert len(secret) == 4 + 64
        assert secret not in repr(context.store._tables)
        assert secret not in repr(await audited(context, "token.created"))
        known = await accounts.sessions.of_token(secret)
        assert (known.principal.user_id, known.principal.scopes, known.principal.family) == (
            operator.user_id,
            None,
            "",
        )
        assert (await tokens.list(operator)).items[0].id == token.id

    async def test_its_use_is_noted_once_a_minute(self, context, accounts, tokens, operator):
        _, secret = await tokens.create(operator, NewToken("ci"))
        seen = []
        for seconds in (0, 30, 30):
            context.clock.advance(seconds)
            await accounts.sessions.of_token(secret)
            seen.append((await tokens.list(operator)).items[0].last_used_at)
        assert seen == [builders.START, builders.START, builders.START + datetime.timedelta(seconds=60)]

    async def test_a_token_narrows_to_its_scopes_and_its_project(self, context, accounts, tokens, operator):
        async with context.store.write() as tx:
            await tx.insert_project(builders.a_project())
        _, secret = await tokens.create(
            operator, NewToken("ci", ("deployment:read", "deployment:read"), "default", expires_in=60)
        )
        principal = (await accounts.sessions.of_token(secret)).principal
        assert principal.scopes == {"deployment:read"}
        assert principal.only == builders.a_project().id
        with pytest.raises(errors.ForbiddenError):
            await tokens.list(principal)

    async def test_a_token_makes_none_that_is_wider_or_lives_longer(self, context, accounts, tokens, operator):
        wanted = NewToken("ci", ("token:write", "log:read"), expires_in=60)
        _, secret = await tokens.create(operator, wanted)
        parent = (await accounts.sessions.of_token(secret)).principal
        with pytest.raises(errors.ForbiddenError):
            await tokens.create(parent, NewToken("more", ("log:read", "env:read")))
        same, _ = await tokens.create(parent, NewToken("same"))
        assert set(same.scopes) == {"token:write", "log:read"}
        assert same.expires_at == builders.START + datetime.timedelta(seconds=60)
        longer, _ = await tokens.create(parent, NewToken("longer", ("log:read",), expires_in=6000))
        assert longer.expires_at == same.expires_at
        shorter, _ = await tokens.create(parent, NewToken("shorter", ("log:read",), expires_in=6))
        assert shorter.expires_at == builders.START + datetime.timedelta(seconds=6)

    @pytest.mark.parametrize(
        ("new", "field"),
        [
            (NewToken(" "), "name"),
            (NewToken("x" * 101), "name"),
            (NewToken("ci", ("everything",)), "scopes"),
            (NewToken("ci", project="none"), "project"),
            (NewToken("ci", expires_in=0), "expires_in"),
            (NewToken("ci", expires_in=10**12), "expires_in"),
            (NewToken("ci", expires_at=builders.START), "expires_at"),
            (NewToken("ci", expires_at=datetime.datetime(2030, 1, 1)), "expires_at"),  # noqa: DTZ001 - the point of it
            (NewToken("ci", expires_in=5, expires_at=datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)), "expires_at"),
        ],
    )
    async def test_a_bad_wish_names_its_field(self, tokens, operator, new, field):
        with pytest.raises(errors.InvalidError) as caught:
            await tokens.create(operator, new)
        assert caught.value.details["field"] == field

    async def test_all_faults_of_a_wish_are_told_together(self, tokens, operator):
        with pytest.raises(errors.InvalidError) as caught:
            await tokens.create(operator, NewToken(" ", ("everything",), "none", 0))
        named = [problem["field"] for problem in caught.value.details["errors"]]
        assert named == ["name", "expires_in", "scopes", "project"]

    async def test_a_token_is_revoked_by_its_user_alone(self, context, accounts, tokens, operator):
        token, secret = await tokens.create(operator, NewToken("ci"))
        with pytest.raises(errors.NotFoundError):
            await tokens.delete(builders.OPERATOR, token.id)
        await tokens.delete(operator, token.id)
        with pytest.raises(errors.UnauthenticatedError):
            await accounts.sessions.of_token(secret)
        assert [row.target for row in await audited(context, "token.revoked")] == [token.id]

    async def test_garbage_is_no_token(self, accounts):
        for secret in ("pat_", "pat_x", "pat_" + "0" * 64, "pat_" + "0" * 65, ""):
            with pytest.raises(errors.UnauthenticatedError):
                await accounts.sessions.of_token(secret)


class TestSetup:
    async def spend(self, made, token, email=EMAIL, password=PASSWORD):
        return await made.setup.spend(HERE, token, email, password)

    async def test_the_token_makes_the_first_operator_once(self, context):
        accounts = Accounts(context)
        token = await accounts.setup.issue()
        assert token not in repr(context.store._tables)
        assert not await accounts.setup.look()
        assert (await self.spend(accounts, token)).operator
        assert await accounts.setup.look()
        with pytest.raises(errors.ConflictError):
            await self.spend(accounts, token, "second@example.com")
        assert len(await audited(context, "user.created")) == 1

    async def test_of_several_at_once_one_makes_it(self, context):
        accounts = Accounts(context)
        token = await accounts.setup.issue()
        done = await asyncio.gather(
            *(self.spend(accounts, token, f"u{n}@example.com") for n in range(5)), return_exceptions=True
        )
        assert sum(isinstance(one, values.User) for one in done) == 1
        async with context.store.read() as tx:
            assert await tx.count_users() == 1

    async def test_a_wrong_an_old_and_a_replaced_token_make_nobody(self, context):
        accounts = Accounts(context)
        with pytest.raises(errors.UnauthenticatedError):
            await self.spend(accounts, "")
        replaced, token = await accounts.setup.issue(), await accounts.setup.issue()
        for wrong in ("guess", "", replaced):
            with pytest.raises(errors.UnauthenticatedError):
                await self.spend(accounts, wrong)
        context.clock.advance(setup.SETUP_S)
        with pytest.raises(errors.UnauthenticatedError):
            await self.spend(accounts, token)

    async def test_a_bad_account_leaves_the_token_good(self, context):
        accounts = Accounts(context)
        token = await accounts.setup.issue()
        with pytest.raises(errors.InvalidError) as caught:
            await self.spend(accounts, token, "nobody", "short")
        assert len(caught.value.details["errors"]) == 2
        await self.spend(accounts, token)
