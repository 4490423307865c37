-- Converts network addresses between the bytes of a packet and text.
--
-- Wireshark's own Address prints a resolved name if name resolution is on, and the name may change a moment later, so it
-- is not usable for comparisons.  Here an address is its 4 or 16 bytes, and its text is numeric.

local M = {}

--- Return the text of 4 bytes (dotted quad) or 16 bytes (RFC 5952: lower case, the longest run of zeros as "::").
-- Anything else (the text of a hardware address, in a frame without IP) is returned unchanged.
---@param bytes string
---@return string
function M.text(bytes)
    if #bytes == 4 then
        return ("%d.%d.%d.%d"):format(bytes:byte(1, 4))
    elseif #bytes ~= 16 then
        return bytes
    end
    local groups = {}
    for i = 1, 16, 2 do
        local high, low = bytes:byte(i, i + 1)
        groups[#groups + 1] = high * 256 + low
    end
    local best, best_length, start = nil, 1, nil
    for i = 1, 9 do
        if groups[i] == 0 then
            start = start or i
        elseif start then
            if i - start > best_length then
                best, best_length = start, i - start
            end
            start = nil
        end
    end
    local function hex(from, to)
        local out = {}
        for i = from, to do
            out[#out + 1] = ("%x"):format(groups[i])
        end
        return table.concat(out, ":")
    end
    if best then
        return hex(1, best - 1) .. "::" .. hex(best + best_length, 8)
    end
    return hex(1, 8)
end

local function ipv4(text)
    local parts = { text:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$") }
    if #parts ~= 4 then
        return nil
    end
    for i = 1, 4 do
        local number = tonumber(parts[i])
        -- Some readers interpret a leading zero as octal, others ignore it, so such a text is not an address.
        if number > 255 or #parts[i] > 1 and parts[i]:sub(1, 1) == "0" then
            return nil
        end
        parts[i] = string.char(number)
    end
    return table.concat(parts)
end

-- Return the bytes of "a:b:c" (without "::"), or nil if the text is something else.
local function groups_of(text)
    local out = {}
    if text == "" then
        return ""
    end
    for part in (text .. ":"):gmatch("([^:]*):") do
        if part:match("^%x%x?%x?%x?$") then
            local number = tonumber(part, 16)
            out[#out + 1] = string.char(math.floor(number / 256), number % 256)
        else
            return nil
        end
    end
    return table.concat(out)
end

--- Return the bytes of a literal IPv4 or IPv6 address, or nil if the text is something else (a host name).
-- An IPv4-mapped IPv6 address (::ffff:10.1.1.1) is the IPv4 address, which the packets carry.
---@param text string
---@return string|nil bytes
function M.parse(text)
    local four = ipv4(text)
    if four then
        return four
    end
    local head, quad = text:match("^(.*:)(%d+%.%d+%.%d+%.%d+)$")
    if head then
        local bytes = ipv4(quad)
        if not bytes then
            return nil
        end
        local b1, b2, b3, b4 = bytes:byte(1, 4)
        text = ("%s%x:%x"):format(head, b1 * 256 + b2, b3 * 256 + b4)
    end
    local before, after = text:match("^(.-)::(.*)$")
    local left, right
    if before then
        left, right = groups_of(before), groups_of(after)
        if not left or not right or #left + #right > 14 then
            return nil
        end
    else
        left, right = groups_of(text), ""
        if not left or #left ~= 16 then
            return nil
        end
    end
    local bytes = left .. ("\0"):rep(16 - #left - #right) .. right
    return bytes:match("^" .. ("\0"):rep(10) .. "\255\255(....)$") or bytes
end

return M
