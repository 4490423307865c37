-- What was found, in words: the lines of the packet tree.

local M = {}

-- The fatal alerts by which a client refuses a certificate (RFC 5246, section 7.2; 47 is about something else).
M.REFUSALS = {
    [42] = "bad_certificate", [43] = "unsupported_certificate", [44] = "certificate_revoked",
    [45] = "certificate_expired", [46] = "certificate_unknown", [48] = "unknown_ca",
}

local visible

--- Give this module the ones that it builds on.
---@param others table<string, table> the modules, by name
function M.using(others)
    visible = others.visible
    return M
end

--- An endpoint: 203.0.113.1:443, [2001:db8::1]:443.
---@param text string
---@param port integer|nil
---@return string
function M.endpoint(text, port)
    if not port then
        return text
    end
    return (text:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(text, port)
end

--- A span of time in seconds.
---@param seconds number
---@return string
function M.span(seconds)
    if seconds < 1 then
        return ("%d ms"):format(math.floor(seconds * 1000 + 0.5))
    end
    return ("%.1f s"):format(seconds)
end

--- Where a configuration comes from.
---@param file certhash.File
---@return string
function M.source(file)
    if file.frame then
        return ("fetched in frame %d"):format(file.frame)
    end
    return visible.text(file.path)
end

local function device(file)
    return visible.text(file.device, 60)
end

--- Some devices by name.
function M.devices(list)
    local names = {}
    for i = 1, math.min(#list, 3) do
        names[i] = device(list[i].file)
    end
    local rest = #list - #names
    if list.more then
        return table.concat(names, ", ") .. " and others"
    elseif rest > 0 then
        return table.concat(names, ", ") .. (" and %d more"):format(rest)
    end
    return table.concat(names, ", ")
end

--- The hashes that a file lists.
---@param file certhash.File
---@return string
function M.hashes(file)
    local texts = {}
    for _, item in ipairs(file.hashes or {}) do
        local text = visible.text(item.text, 90)
        texts[#texts + 1] = item.digest and text or ('"%s" (no hash)'):format(text)
    end
    return #texts > 0 and table.concat(texts, ", ") or "no certificate at all (no certHash)"
end

--- All that a file says of the VPN: the hashes that it lists, and for which head-ends.
---@param file certhash.File
---@return string
function M.expectation(file)
    local urls = {}
    for i, url in ipairs(file.urls) do
        urls[i] = visible.text(url.text, 255)
    end
    return ("%s of %s"):format(M.hashes(file), #urls > 0 and table.concat(urls, ", ") or "no head-end at all (no url)")
end

--- Whose hash a certificate has: "certHash1 of SEP001F6C81110E, its CA".
function M.listed(list, position)
    local first = list[1]
    local text = ("certHash%d of %s"):format(first.item.number, M.devices(list))
    if first.item.algorithm ~= "SHA-1" then
        text = text .. (" (%s)"):format(first.item.algorithm)
    end
    if position > 0 then
        text = text .. ", its CA"
    end
    if not first.url then
        text = text .. ", which is told to use another head-end"
    end
    return text
end

local function expect(list)
    if #list == 1 and not list.more then
        return ("%s expects %s"):format(device(list[1].file), M.hashes(list[1].file))
    end
    return ("%s expect others, the first of them %s"):format(M.devices(list), M.hashes(list[1].file))
end

--- The verdict on a server's certificates, with its reason; `server` is the head-end as text.
---@param found certhash.Found
---@param server string
---@return string
function M.verdict(found, server)
    if found.verdict == "unlisted" then
        return ("unlisted: no known configuration names %s"):format(server)
    elseif found.verdict == "mismatch" then
        return ("mismatch: told to use %s, %s"):format(server, expect(found.told))
    elseif not found.verdict then
        return "cannot tell: a configuration lists SHA-512, which is not computed here"
    end
    for position, list in ipairs(found.listed) do
        for _, entry in ipairs(list) do
            if entry.url then
                local text = ("certHash%d of %s is that of certificate %d")
                    :format(entry.item.number, device(entry.file), position - 1)
                if found.verdict == "rejected" then
                    return ("rejected: %s, and still the client refused it"):format(text)
                end
                return "match: " .. text
            end
        end
    end
    return found.verdict
end

local MOST_DOUBTS = 5

--- Why phones end the connection although the hash matches: the host-ID check, a line for each reason.
---@param found certhash.Found
---@return string[]
function M.host_id(found)
    local lists, order = {}, {}
    for _, entry in ipairs(found.unnamed or {}) do
        local list = lists[entry.doubt]
        if not list then
            list = { more = found.unnamed.more }
            lists[entry.doubt], order[#order + 1] = list, entry.doubt
        end
        list[#list + 1] = entry
    end
    local lines = {}
    for i = 1, math.min(#order, MOST_DOUBTS) do
        lines[i] = M.devices(lists[order[i]]) .. ": " .. visible.text(order[i], 600)
    end
    return lines
end

--- What the phone at the other end itself expects, where that differs from what was sent; nil otherwise.  Behind an address
-- that several phones share it may be another one.
---@param found certhash.Found
---@return string|nil
function M.own(found)
    if found.own and found.own_differs then
        return ("%s was the last to fetch its configuration at this address, and expects %s"):format(
            device(found.own), M.hashes(found.own))
    end
    return nil
end

--- A refusal: who refused which certificate, how long after it was sent, and what is expected instead.
-- refusal is { by = address text, code, after = seconds }, hash the Base64 of the refused chain's first certificate.
function M.refusal(refusal, hash, found)
    -- A clock that was set back in between tells no span.
    local when = refusal.after >= 0 and (" %s later"):format(M.span(refusal.after)) or ""
    local text = ("%s rejected %s%s: %s (%d)"):format(refusal.by, hash, when, M.REFUSALS[refusal.code], refusal.code)
    if found and found.own_differs then
        return text .. ("; %s expects %s"):format(device(found.own), M.hashes(found.own))
    elseif found and found.verdict == "mismatch" then
        return text .. "; " .. expect(found.told)
    elseif found and (found.verdict == "match" or found.verdict == "rejected") then
        return text .. "; the hash is the expected one, so that the cause is another"
    end
    return text
end

return M
