"""Accounts and projects in memory."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from control_plane.domain import values
from control_plane.fakes import tables


class PeopleRows(tables.Rows):
    """See ports.AccountRows and ports.ProjectRows."""

    async def get_user(self, user_id: str) -> values.User | None:
        return self._tables.users.get(user_id)

    async def find_user(self, email: str) -> values.User | None:
        return next((user for user in self._tables.users.values() if user.email == email), None)

    async def list_users(self, after: str | None, limit: int) -> Sequence[values.User]:
        return tables.page(self._tables.users.values(), after, limit)

    async def count_users(self) -> int:
        return len(self._tables.users)

    async def count_operators(self) -> int:
        return sum(user.operator and not user.disabled for user in self._tables.users.values())

    async def insert_user(self, user: values.User) -> bool:
        if await self.find_user(user.email) is not None:
            return False
        self._tables.users[user.id] = user
        return True

    async def update_user(self, user: values.User) -> None:
        tables.replace(self._tables.users, user)

    async def delete_user(self, user_id: str) -> None:
        kept = self._tables
        kept.users.pop(user_id, None)
        kept.members = {key: row for key, row in kept.members.items() if row.user_id != user_id}
        kept.families = {key: row for key, row in kept.families.items() if row.user_id != user_id}
        kept.tokens = {key: row for key, row in kept.tokens.items() if row.user_id != user_id}

    async def insert_family(self, family: values.Family) -> None:
        self._tables.families[family.id] = family

    async def get_family(self, family_id: str) -> values.Family | None:
        return self._tables.families.get(family_id)

    async def swap_jti(self, family_id: str, old: str, new: str) -> bool:
        found = self._tables.families.get(family_id)
        if found is None or found.revoked or found.jti != old:
            return False
        self._tables.families[family_id] = dataclasses.replace(found, jti=new)
        return True

    async def revoke_family(self, family_id: str) -> None:
        if family_id in self._tables.families:
            self._tables.families[family_id] = dataclasses.replace(self._tables.families[family_id], revoked=True)

    async def revoke_families(self, user_id: str, but: str = "") -> None:
        for family in tuple(self._tables.families.values()):
            if family.user_id == user_id and family.id != but:
                await self.revoke_family(family.id)

    async def drop_families(self, ended_before: values.Time) -> None:
        rows = self._tables.families
        self._tables.families = {key: row for key, row in rows.items() if row.expires_at >= ended_before}

    async def drop_tokens(self, ended_before: values.Time) -> None:
        rows = self._tables.tokens.items()
        kept = {key: row for key, row in rows if row.expires_at is None or row.expires_at >= ended_before}
        self._tables.tokens = kept

    async def insert_token(self, token: values.Token) -> bool:
        if await self.find_token(token.digest) is not None:
            return False
        self._tables.tokens[token.id] = token
        return True

    async def find_token(self, digest: str) -> values.Token | None:
        return next((token for token in self._tables.tokens.values() if token.digest == digest), None)

    async def list_tokens(self, user_id: str, after: str | None, limit: int) -> Sequence[values.Token]:
        own = (token for token in self._tables.tokens.values() if token.user_id == user_id)
        return tables.page(own, after, limit)

    async def touch_token(self, token_id: str, at: values.Time) -> None:
        if token_id in self._tables.tokens:
            self._tables.tokens[token_id] = dataclasses.replace(self._tables.tokens[token_id], last_used_at=at)

    async def delete_token(self, token_id: str, user_id: str) -> bool:
        found = self._tables.tokens.get(token_id)
        if found is None or found.user_id != user_id:
            return False
        del self._tables.tokens[token_id]
        return True

    async def get_setting(self, key: str) -> str | None:
        return self._tables.settings.get(key)

    async def put_setting(self, key: str, value: str) -> None:
        self._tables.settings[key] = value

    async def list_projects(
        self, projects: Collection[str] | None, name: str | None, after: str | None, limit: int
    ) -> Sequence[values.Project]:
        rows = self._tables.projects.values()
        chosen = (row for row in rows if tables.allowed(row.id, projects) and name in {None, row.name})
        return tables.page(chosen, after, limit)

    async def projects_by_id(self, project_ids: Collection[str]) -> Mapping[str, values.Project]:
        return {one: self._tables.projects[one] for one in project_ids if one in self._tables.projects}

    async def find_project(self, id_or_name: str) -> values.Project | None:
        return tables.find(self._tables.projects, id_or_name)

    async def insert_project(self, project: values.Project) -> bool:
        return tables.insert_named(self._tables.projects, project, self._tables.projects.values())

    async def update_project(self, project: values.Project) -> bool:
        others = (row for row in self._tables.projects.values() if row.id != project.id)
        if any(row.name == project.name for row in others):
            return False
        tables.replace(self._tables.projects, project)
        return True

    async def delete_project(self, project_id: str) -> None:
        kept = self._tables
        gone = {row.id for row in kept.webhooks.values() if row.project_id == project_id}
        kept.projects.pop(project_id, None)
        kept.members = {key: row for key, row in kept.members.items() if row.project_id != project_id}
        kept.webhooks = {key: row for key, row in kept.webhooks.items() if key not in gone}
        kept.deliveries = {key: row for key, row in kept.deliveries.items() if row.webhook_id not in gone}

    async def list_members(self, project_id: str) -> Sequence[values.Member]:
        rows = (row for row in self._tables.members.values() if row.project_id == project_id)
        return sorted(rows, key=lambda row: (row.created_at, row.user_id))

    async def roles_of(self, user_id: str) -> Mapping[str, str]:
        return {row.project_id: row.role for row in self._tables.members.values() if row.user_id == user_id}

    async def put_member(self, member: values.Member) -> None:
        key = (member.project_id, member.user_id)
        old = self._tables.members.get(key)
        self._tables.members[key] = dataclasses.replace(old, role=member.role) if old else member

    async def delete_member(self, project_id: str, user_id: str) -> bool:
        return self._tables.members.pop((project_id, user_id), None) is not None
