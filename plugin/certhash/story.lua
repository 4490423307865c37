-- Turns what was found into the text of the packet tree, of expert information and of the overview window.

local M = {}

-- The fatal alerts by which a client rejects a certificate (RFC 5246, section 7.2; 47 has another meaning).
M.REFUSALS = {
    [42] = "bad_certificate", [43] = "unsupported_certificate", [44] = "certificate_revoked",
    [45] = "certificate_expired", [46] = "certificate_unknown", [48] = "unknown_ca",
}

local others = ... or {}  -- the modules by name (plain.lua)
local visible = others.visible

--- Return an endpoint as text: 203.0.113.1:443, [2001:db8::1]:443.
---@param text string
---@param port integer|nil
---@return string
function M.endpoint(text, port)
    if not port then
        return text
    end
    return (text:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(text, port)
end

--- Return a time span as text.
---@param seconds number
---@return string
function M.span(seconds)
    if seconds < 1 then
        return ("%d ms"):format(math.floor(seconds * 1000 + 0.5))
    end
    return ("%.1f s"):format(seconds)
end

--- Return where a cnf file comes from.
---@param file certhash.File
---@return string
function M.source(file)
    if file.frame then
        return ("downloaded in frame %d"):format(file.frame)
    end
    return visible.text(file.path)
end

local function device(file)
    return file.kind == "stated" and file.name or visible.text(file.device, 60)
end

--- Return the names of the first three devices, and how many more there are.
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

--- Return the hashes that a cnf file lists.
---@param file certhash.File
---@return string
function M.hashes(file)
    local texts = {}
    for _, item in ipairs(file.hashes or {}) do
        local text = visible.text(item.text, 90)
        texts[#texts + 1] = item.digest and text or ('"%s" (not a hash)'):format(text)
    end
    return #texts > 0 and table.concat(texts, ", ") or "no hash (no certHash in the file)"
end

--- Return the hashes that a cnf file lists, and the URLs that they are for.
---@param file certhash.File
---@return string
function M.expectation(file)
    local urls = {}
    for i, url in ipairs(file.urls) do
        urls[i] = visible.text(url.text, 255)
    end
    return ("%s for %s"):format(M.hashes(file), #urls > 0 and table.concat(urls, ", ") or "no URL")
end

--- Return which certHash a certificate matches: "certHash1 of SEP001F6C81110E, CA certificate".
function M.listed(list, position)
    local first = list[1]
    local text = ("certHash%d of %s"):format(first.item.number, M.devices(list))
    if first.item.algorithm ~= "SHA-1" then
        text = text .. (" (%s)"):format(first.item.algorithm)
    end
    if position > 0 then
        text = text .. ", CA certificate"
    end
    if not first.url then
        text = text .. ", which uses another head-end"
    end
    return text
end

local function expect(list)
    if #list == 1 and not list.more then
        return ("%s expects %s"):format(device(list[1].file), M.hashes(list[1].file))
    end
    local first = M.hashes(list[1].file)
    for _, entry in ipairs(list) do
        if M.hashes(entry.file) ~= first then
            return ("%s expect other certificates; %s expects %s"):format(M.devices(list), device(list[1].file), first)
        end
    end
    return ("%s expect %s"):format(M.devices(list), first)
end

-- The first listed hash of a device that uses this head-end: the entry, and the position of its certificate.
local function matched(found)
    for position, list in ipairs(found.listed) do
        for _, entry in ipairs(list) do
            if entry.url then
                return entry, position - 1
            end
        end
    end
end

--- Return the whole answer for the top line of the tree: "mismatch, SEP001F6C81110E expects 51HY...=, got cOXg...=".
---@param found certhash.Found|nil nil for certificates without a verdict
---@param hash string Base64 SHA-1 of the first certificate
---@param server string the head-end as text
---@return string
function M.summary(found, hash, server)
    if not found or not found.verdict then
        return hash
    elseif found.verdict == "unlisted" then
        return ("%s, unlisted: no cnf file names %s"):format(hash, server)
    elseif found.verdict == "mismatch" then
        return ("mismatch, %s, got %s"):format(expect(found.told), hash)
    end
    local entry = matched(found)
    if not entry then
        return ("%s, %s"):format(found.verdict, hash)
    end
    local answer = found.verdict == "rejected" and "rejected, though" or found.verdict .. ","
    return ("%s %s expects %s"):format(answer, device(entry.file), visible.text(entry.item.text, 90))
end

--- Return the verdict on a server's certificates, with its reason.
---@param found certhash.Found
---@param server string the head-end as text
---@param hash string Base64 SHA-1 of the first certificate
---@return string
function M.verdict(found, server, hash)
    if found.verdict == "unlisted" then
        return ("unlisted: no cnf file names %s"):format(server)
    elseif found.verdict == "mismatch" then
        return ("mismatch: %s, but %s presents %s"):format(expect(found.told), server, hash)
    elseif not found.verdict then
        return "no verdict: a cnf file lists a SHA-512 hash, which the plugin does not compute"
    end
    local entry, position = matched(found)
    if not entry then
        return found.verdict
    end
    local text = ("certHash%d of %s matches certificate %d"):format(entry.item.number, device(entry.file), position)
    if found.verdict == "rejected" then
        return ("rejected: %s, but the client rejected it"):format(text)
    end
    return "match: " .. text
end

local MOST_DOUBTS = 5

--- Return why phones end the connection although the hash matches (the host-ID check), a line for each reason.
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

--- Return what the phone at the client's address expects, if that differs from what was sent; else nil.  If several phones
-- share the address, it may be another phone.
---@param found certhash.Found
---@return string|nil
function M.own(found)
    if found.own and found.own_differs then
        return ("%s, the last phone to download its cnf file at this address, expects %s"):format(
            device(found.own), M.hashes(found.own))
    end
    return nil
end

--- Return who rejected which certificate, how long after it was sent, and what is expected instead.
-- refusal is { by = address text, code, after = seconds }, hash the Base64 SHA-1 of the first certificate.
function M.refusal(refusal, hash, found)
    -- If a clock was set back in between, there is no span.
    local when = refusal.after >= 0 and (" %s later"):format(M.span(refusal.after)) or ""
    local text = ("%s rejected %s%s: %s (%d)"):format(refusal.by, hash, when, M.REFUSALS[refusal.code], refusal.code)
    if found and found.own_differs then
        return text .. ("; %s expects %s"):format(device(found.own), M.hashes(found.own))
    elseif found and found.verdict == "mismatch" then
        return text .. "; " .. expect(found.told)
    elseif found and (found.verdict == "match" or found.verdict == "rejected") then
        return text .. "; the hash matches, so there is another cause"
    end
    return text
end

return M
