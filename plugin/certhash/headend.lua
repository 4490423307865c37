-- Reads which head-end a URL names.  scripts/certhash/headend.py has the same rule.

local M = {}

local others = ... or {}  -- the modules by name (plain.lua)
local address, markup = others.address, others.markup

-- Return whether a text is a host name: letters, digits, - and _ in labels of up to 63 (RFC 1035).
local function is_name(host)
    for label in (host .. "."):gmatch("([^.]*)%.") do
        if #label > 63 or not label:find("^[%w_][%w_-]*$") or label:find("-$") then
            return false
        end
    end
    return #host <= 253
end

--- Return the head-end that a URL names, { host =, port =, address = bytes or nil }; else nil and an error.
-- The host is in lower case, without a final dot or brackets.
---@param url string
---@return certhash.HeadEnd|nil
---@return string|nil problem
function M.read(url)
    url = markup.trim(url)
    if url == "" then
        return nil, "the URL is empty"
    elseif url:find("[%c ]") then
        return nil, "the URL contains blanks or control characters"
    end
    local scheme, authority = url:match("^(%a[%w+.-]*)://([^/?#\\]*)")
    if not scheme then
        return nil, "the URL does not start with https:// and a host"
    elseif scheme:lower() ~= "https" then
        return nil, ("the URL starts with %s://, but a phone's VPN client needs https://"):format(scheme)
    elseif url:find("\\", 1, true) then
        return nil, "the URL contains a backslash, and it is unknown how a phone handles that"
    elseif authority:find("@", 1, true) then
        return nil, "the URL contains a user name, which a head-end's URL cannot have"
    end
    local literal, port = authority:match("^%[([^%[%]]*)%](.*)$")
    local host, bytes = literal, nil
    if not literal then
        host, port = authority:match("^([^:%[%]]*)(.*)$")
    end
    if port ~= "" and not port:find("^:[^:]*$") then
        return nil, "the URL's host is ambiguous: an IPv6 address needs [ ] around it"
    end
    if literal then
        bytes = host:find(":", 1, true) and address.parse(host)
        if not bytes then
            return nil, ("the URL's host [%s] is not an IPv6 address"):format(host)
        end
    else
        host = host:lower():gsub("%.$", "")
        if host == "" then
            return nil, "the URL has no host"
        elseif host:find("^%d+$") or host:find("%.%d+$") then  -- no top-level domain is a number
            bytes = address.parse(host)
            if not bytes then
                return nil, ("the URL's host %s is neither an IPv4 address nor a name"):format(host)
            end
        elseif not is_name(host) then
            return nil, ("the URL's host %s is not a valid name"):format(host)
        end
    end
    if bytes then
        host = address.text(bytes)
    end
    port = port:gsub("^:", "")
    if port == "" then
        return { host = host, port = 443, address = bytes }
    end
    local number = port:find("^%d%d?%d?%d?%d?$") and tonumber(port)
    if not number or number < 1 or number > 65535 then
        return nil, ("the URL's port %s is not a number from 1 to 65535"):format(port)
    end
    return { host = host, port = number, address = bytes }
end

return M
