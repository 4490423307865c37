-- Applies the host-ID check: whether a phone accepts the names in a certificate whose hash matches.
--
-- The phone compares the host of its URL with the names in the head-end's own certificate, and ends the connection if they
-- differ (usecallmanager.nz, enableHostIDCheck; TAC 115785 for wildcards, which do not count).  CME and CUCM enable the
-- check by default.  scripts/certhash/hostid.py has the same rule and the same messages.

local M = {}

local others = ... or {}  -- the modules by name (plain.lua)
local address = others.address

-- Return a name for comparison: an address in its normal form, anything else in lower case without the final dot.
local function plain(name)
    local bytes = address.parse(name)
    return bytes and address.text(bytes) or (name:lower():gsub("%.+$", ""))
end

--- Return whether one of a certificate's names is the host of a URL.
---@param names string[]|nil nil if the certificate cannot be read
---@param host string as returned by headend.read
---@return boolean
function M.names_host(names, host)
    for _, name in ipairs(names or {}) do
        if plain(name) == host then
            return true
        end
    end
    return false
end

--- Return whether a phone with this file makes the check.
---@param file certhash.File
---@return boolean
function M.is_on(file)
    return file.host_id_check ~= "0"
end

--- Return the warning about a head-end's own certificate; nil if a phone with this file accepts its names.
---@param file certhash.File
---@param names string[]|nil
---@param host string
---@return string|nil
function M.doubt(file, names, host)
    if not M.is_on(file) or M.names_host(names, host) then
        return nil
    end
    local state = file.host_id_check == "1" and "is on" or "is on by default (the file does not say)"
    if not names then
        return ("the host-ID check %s, but whether the certificate names %s is unknown: it is unreadable")
            :format(state, host)
    end
    local listed = #names > 0 and table.concat(names, ", ") or "no host"
    local wildcard = listed:find("*", 1, true) and ", and a wildcard does not count" or ""
    -- Lua 5.2's string.format ends a text at a NUL, which untrusted text may contain.
    return "the host-ID check " .. state .. ", and the certificate does not name " .. host .. " (it names " .. listed
        .. wildcard .. "): the phone then ends the connection"
end

return M
