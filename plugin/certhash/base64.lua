-- Base64 (RFC 4648, section 4) in plain Lua: Wireshark's Lua can only decode it.

local M = {}

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local LETTER, VALUE = {}, {}
for i = 0, 63 do
    local letter = ALPHABET:sub(i + 1, i + 1)
    LETTER[i], VALUE[letter:byte()] = letter, i
end

--- Encode bytes as padded Base64 in one line.
---@param bytes string
---@return string
function M.encode(bytes)
    local out = {}
    for i = 1, #bytes, 3 do
        local a, b, c = bytes:byte(i, i + 2)
        local low = (b or 0) % 16 * 4 + math.floor((c or 0) / 64)
        out[#out + 1] = LETTER[math.floor(a / 4)] .. LETTER[a % 4 * 16 + math.floor((b or 0) / 16)]
            .. (b and LETTER[low] or "=") .. (c and LETTER[c % 64] or "=")
    end
    return table.concat(out)
end

--- Decode Base64 to bytes; return nil if the text is not Base64.
-- White space is ignored, and the padding may be missing, since both occur in real files.  Characters outside of the
-- alphabet, padding in the middle, a single character at the end and unused bits that are not zero are refused.
---@param text string
---@return string|nil bytes
function M.decode(text)
    local body, padding = text:gsub("%s+", ""):match("^([A-Za-z0-9+/]*)(=*)$")
    if not body then
        return nil
    end
    local over = #body % 4
    if over == 1 or #padding > 0 and (over + #padding) ~= 4 then
        return nil
    end
    local out = {}
    for i = 1, #body, 4 do
        local a, b, c, d = body:byte(i, i + 3)
        local bits = VALUE[a] * 262144 + VALUE[b] * 4096 + (c and VALUE[c] or 0) * 64 + (d and VALUE[d] or 0)
        local b1, b2, b3 = math.floor(bits / 65536), math.floor(bits / 256) % 256, bits % 256
        if d then
            out[#out + 1] = string.char(b1, b2, b3)
        elseif c and b3 == 0 then
            out[#out + 1] = string.char(b1, b2)
        elseif not c and b2 == 0 and b3 == 0 then
            out[#out + 1] = string.char(b1)
        else
            return nil
        end
    end
    return table.concat(out)
end

return M
